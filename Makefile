# make serve  start a server in ./kagimori-data
# make test   every test, with what they need installed first
# make check  what CI runs
# make bench  throughput against a bare net/http server
GO ?= go

.PHONY: serve test check bench fuzz long

serve:
	$(GO) run ./cmd/kagimori serve

test: test/.tools/ready
	$(GO) test -race ./...

check:
	bash .ci/run

bench:
	$(GO) run ./bench

# Each fuzz target for FUZZTIME.
FUZZTIME ?= 30s
fuzz:
	./test/fuzz $(FUZZTIME)

# The long tests: 200 rounds of kill -9 and the like.
long: test/.tools/ready
	KAGIMORI_LONG=1 $(GO) test -race -timeout 60m ./...

test/.tools/ready: test/setup test/requirements.txt test/js/package.json
	./test/setup
