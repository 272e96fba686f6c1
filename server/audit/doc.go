// Package audit chains the AuditEvents, so that one that was removed, changed,
// moved or put in shows, and answers what can be asked of them.
//
// No act waits for the chain. A sealer looks for committed events that no seal
// covers and seals them in a batch: each gets a place and a MAC, the batch a seal
// that authenticates all of them and the seal before. An event that is committed
// late, with a smaller id than its neighbours, is in a later batch; the order of
// the chain is that of sealing. The MAC keys derive from the root key, which is not
// in the database.
//
// A detail is sealed as a commitment, a salted hash. Erasing it removes value and
// salt and leaves the commitment, so the chain stays whole. Retention removes the
// events of whole seals and leaves the seals. Both are authenticated too: who
// only has the database can do neither unnoticed.
package audit
