package server

import (
	"testing"

	"github.com/kagimori/kagimori/internal/wire"
)

// TestCoverage holds docs/coverage.md against the operations that are answered.
func TestCoverage(t *testing.T) {
	t.Parallel()
	h := start(t)
	handlers := h.srv.pipeline.handlers
	answered, known := 0, 0
	compareGolden(t, "../../docs/coverage.md", wire.Coverage(func(op *wire.Operation) bool {
		works := handlers[op.Service.Name][op.Name] != nil
		if works {
			known++
		}
		return works
	}))
	for _, operations := range handlers {
		answered += len(operations)
	}
	if known != answered {
		t.Errorf("%d handlers belong to no operation", answered-known)
	}
}
