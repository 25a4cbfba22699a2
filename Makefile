# SPDX-License-Identifier: GPL-3.0-or-later

# What a person needs is in 'make help'. The parts that need more than a line
# are scripts under test/.

GO     ?= go
EMACS  ?= emacs
DESTDIR ?= lisp

# The least Go that builds this; Debian 12's own is older.
GO_WANTED := 1.25

VERSION := $(shell sed -n 's/^;; Version: *//p' lisp/submission.el)
OS      := $(shell $(GO) env GOOS 2>/dev/null)
SUFFIX  := $(if $(filter darwin,$(OS)),.dylib,$(if $(filter windows,$(OS)),.dll,.so))
MODULE  := lisp/submission-module$(SUFFIX)
SOURCES := go.mod go.sum $(shell find module fallback family -name '*.go' ! -name '*_test.go')
LISP    := $(filter-out lisp/submission-autoloads.el,$(wildcard lisp/*.el))

.PHONY: all check-tools demo test lint test-go test-lisp e2e bench soak fuzz doc clean help
.DELETE_ON_ERROR:

all: $(MODULE)  ## build the module

check-tools:
	@sh test/tools.sh build $(GO_WANTED) $(GO)

# Written beside and renamed: an Emacs that runs has the old file mapped.
$(MODULE): $(SOURCES) lisp/submission.el | check-tools
	$(GO) build -buildmode=c-shared -trimpath -ldflags '-s -w -X main.version=$(VERSION)' \
	  -o lisp/.submission-module.new ./module
	@rm -f lisp/.submission-module.h lisp/.submission-module.new.h
	$(if $(filter darwin,$(OS)),codesign -s - lisp/.submission-module.new)
	mv -f lisp/.submission-module.new $@

demo: ## build, and send two messages to a scripted server, one after a fallback
	@sh test/tools.sh demo $(GO_WANTED) $(GO)
	@$(MAKE) --no-print-directory all
	@EMACS=$(EMACS) $(GO) run ./test/demo

test: ## everything that CI runs
	@sh test/tools.sh test $(GO_WANTED) $(GO)
	@$(MAKE) --no-print-directory lint test-go test-lisp e2e

lint: ## formatting, vet, staticcheck, the byte compiler, checkdoc, shellcheck, the manual
	@GO=$(GO) EMACS=$(EMACS) sh test/lint.sh

test-go: ## the Go packages, with the race detector
	$(GO) test -race -timeout 30m $(shell $(GO) list ./... | grep -v /test/e2e)

test-lisp: all ## the Lisp tests, in batch, with the module
	@GO=$(GO) EMACS=$(EMACS) sh test/lisp/run.sh

e2e: all ## stories from Emacs to a server and back, in a network laboratory
	EMACS=$(EMACS) $(GO) test -count=1 -timeout 40m ./test/e2e

bench: all ## figures, beside other senders in the same run; some minutes
	@EMACS=$(EMACS) $(GO) run ./test/bench

soak: all ## kill Emacs some hundred times while it sends, and count; some minutes
	@EMACS=$(EMACS) $(GO) run ./test/soak

fuzz: ## each fuzz test for 20 s (FUZZTIME=1m for longer)
	@GO=$(GO) sh test/fuzz.sh

doc: doc/submission.info doc/submission.html ## the manual, for Info and as HTML

doc/submission.info doc/submission.html: doc/submission.texi
	@command -v makeinfo >/dev/null || { echo "submission: to make the manual, makeinfo is missing (on Debian: apt-get install texinfo)" >&2; exit 1; }
	makeinfo $(if $(filter %.html,$@),--html) --no-split -o $@ $<

clean: ## remove what was built
	rm -rf doc/*.info doc/*.html lisp/*.elc lisp/submission-module.so lisp/submission-module.dylib lisp/submission-module.dll \
	  lisp/.submission-module* lisp/submission-autoloads.el test/.cache test/.run

help: ## this list
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18
