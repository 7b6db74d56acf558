package server

import (
	"testing"

	"github.com/kagimori/kagimori/internal/wire"
)

// TestCoverage holds docs/coverage.md against the operations that are answered.
func TestCoverage(t *testing.T) {
	t.Parallel()
	h := start(t)
	compareGolden(t, "../../docs/coverage.md", wire.Coverage(func(name string) bool { return h.srv.pipeline.handlers[name] != nil }))
	for name := range h.srv.pipeline.handlers {
		if _, err := wire.Lookup("TrentService." + name); err != nil {
			t.Errorf("the handler %s belongs to no operation", name)
		}
	}
}
