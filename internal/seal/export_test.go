package seal

// FastPassphrase is Passphrase with the fewest iterations that a document may
// have: the full number takes over a second under the race detector.
func FastPassphrase(text string) Provider { return passphrase{&text, minIterations} }

// RootKey is what must never be seen.
func RootKey(k *Keys) []byte { return k.root.key[:] }
