// Package admin serves the admin API that api/openapi.yaml describes: clients,
// resources, users, grants, keys and audit events as JSON under /admin/v1.
//
// Every change is one read, one check of the whole result, and one write that
// carries its audit event. Bodies are read strictly (no unknown, repeated or
// null fields), so that a typing error never passes for a setting; merge patches
// follow RFC 7396, errors RFC 9457.
package admin
