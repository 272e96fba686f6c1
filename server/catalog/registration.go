package catalog

import (
	"context"
	"errors"
	"fmt"

	"grantd/storage"
)

// RegistrationPolicy returns the policy.
func (c *Catalog) RegistrationPolicy(ctx context.Context) (*storage.RegistrationPolicy, error) {
	c.mu.RLock()
	policy, fresh, epoch := c.policy, c.fresh(), c.epoch
	c.mu.RUnlock()
	if policy != nil && fresh {
		return policy, nil
	}
	found, err := c.once(ctx, fmt.Sprint(epoch, " policy"), func(ctx context.Context) (any, error) { return c.store.RegistrationPolicy(ctx) })
	if err != nil {
		return nil, err
	}
	policy = found.(*storage.RegistrationPolicy)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		c.policy = policy
	}
	return policy, nil
}

// RegistrationDecision returns the request for the client with this OAuth
// client_id if it has been decided, and nil if nobody has asked or it still
// waits. That nothing is decided is remembered too: a request that is made moves
// no version, but its decision does.
func (c *Catalog) RegistrationDecision(ctx context.Context, clientID string) (*storage.RegistrationRequest, error) {
	c.mu.RLock()
	request, known := c.requests[clientID]
	fresh, epoch := c.fresh(), c.epoch
	c.mu.RUnlock()
	if known && fresh {
		return request, nil
	}
	found, err := c.once(ctx, fmt.Sprint(epoch, " request ", clientID), func(ctx context.Context) (any, error) {
		r, _, err := c.store.RegistrationRequestOf(ctx, clientID, "")
		if errors.Is(err, storage.ErrNotFound) || err == nil && r.State == storage.RequestPending {
			return (*storage.RegistrationRequest)(nil), nil
		}
		return r, err
	})
	if err != nil {
		return nil, err
	}
	request = found.(*storage.RegistrationRequest)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		if len(c.requests) >= maxClients {
			clear(c.requests)
		}
		c.requests[clientID] = request
	}
	return request, nil
}
