package load

import (
	"context"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

func (c *client) revoke(ctx context.Context, key string) {
	op := c.op(history.Revoke, key)
	c.recorder.Call(op)
	c.returns(op, c.locker.Revoke(ctx, key))
}

func (c *client) retire(ctx context.Context, key string) {
	op := c.op(history.Retire, key)
	c.recorder.Call(op)
	if c.returns(op, c.locker.Retire(ctx, key)) == history.OK && c.chance(70) {
		c.purge(ctx)
	}
}

// purge deletes the rows of retired keys.
func (c *client) purge(ctx context.Context) {
	op := c.op(history.Purge, "")
	c.recorder.Call(op)
	_, err := c.locker.Purge(ctx, txlock.PurgeOptions{})
	c.returns(op, err)
}

func (c *client) inspect(ctx context.Context, key string) {
	op := c.op(history.Inspect, key)
	c.recorder.Call(op)
	info, err := c.locker.Inspect(ctx, key)
	if err == nil {
		op.Epoch, op.Status = info.Epoch, int8(info.Status)
	}
	c.returns(op, err)
}
