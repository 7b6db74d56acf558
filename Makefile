# make serve  start a server in ./kagimori-data
# make test   every test, with what they need installed first
# make check  what CI runs
# make bench  throughput against a bare net/http server
# make fuzz   each fuzz target for FUZZTIME
# make long   the tests with 200 rounds of kill -9 and the like
GO ?= go
FUZZTIME ?= 30s

.PHONY: serve test check bench fuzz long tools

serve:
	$(GO) run ./cmd/kagimori serve

# The end-to-end tests build the program themselves, so that go cannot tell when their
# results are stale: they run each time.
test: tools
	$(GO) test -race $(TESTFLAGS) $$($(GO) list ./... | grep -v '/test/e2e$$')
	$(GO) test -race $(TESTFLAGS) -count=1 ./test/e2e

check:
	GO=$(GO) bash .ci/run

bench:
	$(GO) run ./bench

fuzz:
	GO=$(GO) ./test/fuzz $(FUZZTIME)

long:
	KAGIMORI_LONG=1 $(MAKE) test TESTFLAGS='-timeout 60m'

tools:
	@GO=$(GO) ./test/setup
