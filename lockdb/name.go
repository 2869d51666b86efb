package lockdb

import "encoding/hex"

// Hex is how a key or an owner travels in a statement. As text or bytes the server
// would convert it from the session's character_set_client to its
// character_set_connection before it is compared or stored, so that two sessions
// that differ there would take one key for two.
func Hex(name string) string { return hex.EncodeToString([]byte(name)) }
