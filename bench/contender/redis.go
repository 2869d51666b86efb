package contender

import (
	"context"
	"errors"
	"fmt"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

// Redis are the ways to keep the lock in one Redis.
func Redis() []Contender {
	memory := func(e Env) string { return e.Redis }
	durable := func(e Env) string { return e.DurableRedis }
	return []Contender{
		redisContender("redislock", "a key with a TTL in one Redis, tried every 5 ms; a Redis that restarts has forgotten it", memory, newRedislock, holdRedislock),
		redisContender("redislock, fsync always", "the same, and Redis writes each change to disk before it answers", durable, newRedislock, holdRedislock),
		redisContender("redsync", "Redlock's algorithm on one Redis, tried every 5 ms; a Redis that restarts has forgotten the key", memory, newRedsync, holdRedsync),
		redisContender("redsync, fsync always", "the same, and Redis writes each change to disk before it answers", durable, newRedsync, holdRedsync),
	}
}

func redisContender(name, about string, addr func(Env) string, locks func(*redis.Client, Env) redisLocker, hold func(addr func(Env) string) func(context.Context, Env, int) (Held, error)) Contender {
	return Contender{
		Name:  name,
		About: about,
		// The TTL frees a dead holder's key. A holder that outlives its TTL learns
		// nothing of it, and neither library (redislock v0.9.4, redsync v4.18.1)
		// gives a number that grows, for the database to check:
		// https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
		// and https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/.
		Promises: Promises{SurvivesCrash: true, OtherServer: "Redis"},
		Open: func(ctx context.Context, e Env) (Lock, error) {
			return openRedis(ctx, e, addr(e), locks)
		},
		Hold: hold(addr),
	}
}

// redisLocker takes a key, waiting for it, and returns what releases it.
type redisLocker func(ctx context.Context, key string) (release func(context.Context) error, err error)

type redisLock struct {
	db     businessDB
	client *redis.Client
	lock   redisLocker
}

func openRedis(ctx context.Context, e Env, addr string, locks func(*redis.Client, Env) redisLocker) (Lock, error) {
	client := newRedis(e, addr)
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("contender: redis at %s does not answer: %w: start it", addr, err), client.Close())
	}
	db, err := openBusinessDB(e)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &redisLock{db: db, client: client, lock: locks(client, e)}, nil
}

func newRedis(e Env, addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, Dialer: e.Dial, PoolSize: manyConnections})
}

func (l *redisLock) Do(ctx context.Context, _ int, key string, business Business) (err error) {
	release, err := l.lock(ctx, key)
	if err != nil {
		return fmt.Errorf("contender: key %s: could not take it: %w", key, err)
	}
	defer func() {
		ctx, cancel := releasing(ctx)
		defer cancel()
		if e := release(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("contender: key %s: could not release it: %w", key, e))
		}
	}()
	return l.db.run(ctx, business)
}

func (l *redisLock) Close() error { return errors.Join(l.client.Close(), l.db.Close()) }

func newRedislock(client *redis.Client, e Env) redisLocker {
	locker := redislock.New(client)
	return func(ctx context.Context, key string) (func(context.Context) error, error) {
		// Without a deadline it would give up after the TTL.
		ctx, cancel := context.WithTimeout(ctx, acquirePatience)
		defer cancel()
		lock, err := locker.Obtain(ctx, key, e.TTL, &redislock.Options{RetryStrategy: redislock.LinearBackoff(retryDelay)})
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			err := lock.Release(ctx)
			if errors.Is(err, redislock.ErrLockNotHeld) {
				return fmt.Errorf("%w: %w", err, ErrLost)
			}
			return err
		}, nil
	}
}

func newRedsync(client *redis.Client, e Env) redisLocker {
	sync := redsyncOn(client)
	return func(ctx context.Context, key string) (func(context.Context) error, error) {
		mutex := sync.NewMutex(key, redsync.WithExpiry(e.TTL),
			redsync.WithRetryDelay(retryDelay), redsync.WithTries(int(acquirePatience/retryDelay)))
		if err := mutex.LockContext(ctx); err != nil {
			return nil, errors.Join(err, context.Cause(ctx)) // of which it says nothing
		}
		return func(ctx context.Context) error {
			held, err := mutex.UnlockContext(ctx)
			// That the key is gone is this error, that it is another's is ErrTaken.
			if taken := new(redsync.ErrTaken); errors.Is(err, redsync.ErrLockAlreadyExpired) || errors.As(err, &taken) {
				return fmt.Errorf("%w: %w", err, ErrLost)
			}
			if !held && err == nil {
				return ErrLost
			}
			if held {
				return nil
			}
			return err
		}, nil
	}
}

func redsyncOn(client *redis.Client) *redsync.Redsync {
	return redsync.New(goredis.NewPool(client))
}
