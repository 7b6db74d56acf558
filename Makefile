# make serve  start a server in ./kagimori-data
# make test   every test, with what they need installed first
# make check  what CI runs
# make bench  throughput against a bare net/http server
# make fuzz   each fuzz target for FUZZTIME
# make long   the tests with 200 rounds of kill -9 and the like
GO ?= go
FUZZTIME ?= 30s
# The end-to-end tests build the program themselves, so that go cannot tell when their
# results are stale: they run each time.
E2E := ./test/e2e
OTHERS = $$($(GO) list ./... | grep -v '/test/e2e$$')

.PHONY: serve test check bench fuzz long tools

serve:
	$(GO) run ./cmd/kagimori serve

test: tools
	$(GO) test -race $(OTHERS)
	$(GO) test -race -count=1 $(E2E)

check:
	GO=$(GO) bash .ci/run

bench:
	$(GO) run ./bench

fuzz:
	GO=$(GO) ./test/fuzz $(FUZZTIME)

long: tools
	KAGIMORI_LONG=1 $(GO) test -race -timeout 60m $(OTHERS)
	KAGIMORI_LONG=1 $(GO) test -race -timeout 60m -count=1 $(E2E)

tools:
	@GO=$(GO) ./test/setup
