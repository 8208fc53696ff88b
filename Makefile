# The front door: each target installs what is missing, configures, builds and runs.
# Everything is built below build/, one folder a kind; meson is usable directly as well.

BUILD ?= build
ARGS ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
TESTS ?= $(JOBS)
PREFIX ?= /usr/local
OPTIONS ?=
# Optimised like a release; assertions and the failing allocations of the tests stay.
RELEASE = --buildtype=release -Db_ndebug=false $(OPTIONS)

.PHONY: help demo build test bench fuzz docs install deb clean format

help:
	@echo 'make demo      two agents and a server on this machine, killed in the middle'
	@echo '               (make demo ARGS="--messages 5000"; ARGS=--help lists the options)'
	@echo 'make build     build everything into $(BUILD)/release'
	@echo 'make test      build and run every test'
	@echo '               (make test ARGS="--suite unit"; ARGS goes to meson test)'
	@echo 'make bench     measure, each figure beside its floor'
	@echo '               (make bench ARGS="operator --full": one of them, with its options)'
	@echo 'make fuzz      every fuzz target for 10 s (make fuzz ARGS="-s 60 link_text")'
	@echo 'make docs      check that code in the documents is the code that is built'
	@echo 'make install   install libraries, headers and smp-server (PREFIX=$(PREFIX))'
	@echo 'make deb       build the Debian packages into $(BUILD)/deb'
	@echo 'make format    format the sources with clang-format'
	@echo 'make clean     remove $(BUILD)'

demo:
	@scripts/bootstrap
	@scripts/build $(BUILD)/release -j $(JOBS) -t examples/demo -- $(RELEASE)
	@$(BUILD)/release/examples/demo $(ARGS)

build:
	@scripts/bootstrap
	@scripts/build $(BUILD)/release -j $(JOBS) -- $(RELEASE)

test: build
	@scripts/test $(BUILD)/release -j $(TESTS) $(if $(COUNT),-n $(COUNT)) -- $(ARGS)

bench:
	@scripts/bootstrap --all
	@scripts/build $(BUILD)/bench -j $(JOBS) -- --buildtype=release -Dtests=false -Dbench=true
	@scripts/bench $(BUILD)/bench $(ARGS)

fuzz:
	@scripts/bootstrap --all
	@scripts/fuzz -b $(BUILD)/fuzz -j $(JOBS) $(ARGS)

docs:
	@scripts/bootstrap
	@tests/checks/docs.py .

install:
	@scripts/bootstrap
	@scripts/build $(BUILD)/install -j $(JOBS) -- --buildtype=release -Dtests=false \
		-Dprefix=$(PREFIX)
	@meson install -C $(BUILD)/install --no-rebuild

deb:
	@scripts/bootstrap
	@scripts/deb $(BUILD)/deb

format:
	@clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	@rm -rf $(BUILD)
