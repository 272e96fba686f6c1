package factor

import "context"

// Still returns what tells whether the user has a second factor at the moment, for a
// sign-in that rests on one: an administrator may reset it meanwhile.
func (f *Factors) Still(userID string) func(ctx context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		factors, err := f.Of(ctx, userID)
		return err == nil && factors.Any(), err
	}
}
