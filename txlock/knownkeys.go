package txlock

import "sync"

// knownKeys remembers keys whose row was seen to be there, so that their next
// acquisition can go by primary key alone. A key that is remembered wrongly costs
// one statement; one that is forgotten, some of the server's time. It holds
// between limit and twice limit keys: the older half goes when the newer is full.
type knownKeys struct {
	limit int

	mu    sync.RWMutex
	newer map[string]struct{}
	older map[string]struct{}
}

func newKnownKeys(limit int) *knownKeys {
	return &knownKeys{limit: limit, newer: make(map[string]struct{})}
}

func (k *knownKeys) has(key string) bool {
	k.mu.RLock()
	_, inNewer := k.newer[key]
	_, inOlder := k.older[key]
	k.mu.RUnlock()
	if inOlder && !inNewer {
		k.add(key) // in use: survives the next turn
	}
	return inNewer || inOlder
}

func (k *knownKeys) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.newer) >= k.limit {
		k.older, k.newer = k.newer, make(map[string]struct{}, k.limit)
	}
	k.newer[key] = struct{}{}
}

func (k *knownKeys) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.newer, key)
	delete(k.older, key)
}
