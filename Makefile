# SPDX-License-Identifier: MIT
# One Makefile for the whole tree. Objects mirror sources under build/.
#
#   make            both programs, the simulator and the activator
#   make demo       install what is missing, run one real pipeline, show it
#   make up         start a whole stack in the background (STACK_DIR=, PORT=)
#   make down       stop it
#   make check      all tests (ONLY=unit,db,... for some of them)
#   make lint       formatter, clang-tidy, layers, both compilers, units
#   make asan       all tests under AddressSanitizer and UBSan
#   make tsan       all tests under ThreadSanitizer
#   make check-faults   kills and other faults, judged by ledgers (QUICK=1)
#   make bench      measure beside this machine's limits (CASE=, FULL=1)
#   make soak       load for a while (MINUTES=3): does anything grow?
#   make check-systemd  boot a real systemd, install, prove it there (root)
#   make valgrind   the unit tests under valgrind
#   make fuzz       break the parsers (TIME=60 s each, FUZZ=name for one)
#   make deps       install what building and running need
#   make deps-check what the tests need as well;  deps-lint, -bench, -fuzz,
#                   -systemd
#   make install    DESTDIR=, PREFIX= (/usr/local); make uninstall keeps data
#   make hooks      check the format of staged lines before each commit
#   make clean      remove what was built (a running stack is left alone)
#
# DEVELOPER=1 makes warnings errors, V=1 shows commands, BUILD=dir builds there.

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

# Commands are long and alike: say what is made, and let V=1 show how.
ifndef V
Q   := @
say  = @echo '  $(1)	$(2)';
else
endif

BUILD  ?= build
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif

# Expanded at the first use and only once: pkg-config itself may be among the
# things that "make deps" installs in the same run.
once = $(eval $(1) := $(2))$($(1))
PKGS       := libpq jansson libsystemd libcurl libcrypto
PKG_CFLAGS  = $(call once,PKG_CFLAGS,$(shell pkg-config --cflags $(PKGS)))
PKG_LIBS    = $(call once,PKG_LIBS,$(shell pkg-config --libs $(PKGS)))
MACHINE     = $(call once,MACHINE,$(shell $(CC) -dumpmachine))

CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wmissing-declarations -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wformat=2 -Wvla -Wundef -Wno-format-nonliteral -Wconversion \
	-Werror=implicit -Werror=int-conversion \
	-Werror=incompatible-pointer-types
ifdef DEVELOPER
WARNINGS += -Werror
endif
# What OpenSSF's guide asks for, as far as the compiler knows it; lint looks
# for it in the programs. Sanitizers bring their own checks and do not go with
# FORTIFY_SOURCE. Left out: -fexceptions, since no thread is ever cancelled;
# -z nodlopen, since glibc opens no program; -fzero-call-used-regs, which the
# guide does not ask for and every return would pay.
ONLY_GCC  := -Wtrampolines -Wbidi-chars=any -ftrivial-auto-var-init=zero
KNOWN      = $(call once,KNOWN,$(foreach flag,$(ONLY_GCC),$(shell \
	$(CC) -Werror $(flag) -fsyntax-only -xc /dev/null 2>/dev/null && \
	echo $(flag))))
ifeq ($(SAN),)
HARDEN    = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS \
	-fstack-protector-strong -fstack-clash-protection \
	-fno-strict-overflow $(KNOWN) \
	$(if $(filter x86_64%,$(MACHINE)),-fcf-protection=full) \
	$(if $(filter aarch64%,$(MACHINE)),-mbranch-protection=standard)
LDHARDEN := -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code
endif
ALL_CPPFLAGS = -I. -I$(BUILD)/gen -D_GNU_SOURCE $(PKG_CFLAGS) $(CPPFLAGS)
ALL_CFLAGS   = -std=gnu17 -fPIE -fno-common -fno-strict-aliasing \
	-fno-delete-null-pointer-checks $(WARNINGS) $(HARDEN) $(CFLAGS) $(SAN)
ALL_LDFLAGS  = -pie -Wl,--as-needed -Wl,--export-dynamic-symbol=gmtime \
	$(LDHARDEN) $(LDFLAGS)
LINK         = $(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@
ALL_LDLIBS   = -lfcgi $(PKG_LIBS) -lpthread -lm $(LDLIBS)
PURE_LDLIBS  = $(shell pkg-config --libs jansson libcrypto)

# ---- what is in the tree -----------------------------------------------

sources     = $(sort $(wildcard $(addsuffix /*.c,$(1))))
obj         = $(patsubst %.c,$(BUILD)/%.o,$(1))
without_main = $(filter-out %/main.c,$(call sources,$(1)))

PURE_SRC     := $(call sources,common/base common/model common/provider)
WORK_SRC     := $(call sources,common/io common/flow)
FCGI_SRC     := $(call without_main,fcgi)
POLLER_SRC   := $(call without_main,poller)
SUPPORT_SRC  := $(call sources,tests/support)
SIM_SRC      := $(call sources,tests/simulator)
STACK_SRC    := $(call sources,tests/stack)
UNIT_SRC     := $(sort $(shell find tests/unit -name '*_test.c' 2>/dev/null))
DB_SRC       := $(filter %_test.c,$(call sources,tests/db))
STORE_SRC    := $(filter %_test.c,$(call sources,tests/store))
FUZZ_SRC     := $(filter-out %/replay.c,$(call sources,tests/fuzz))
DB_HELP_SRC  := $(filter-out %_test.c,$(call sources,tests/db))
BENCH_SRC    := $(call sources,tests/bench)
SSRF_SRC     := $(call sources,tests/ssrf)
FAULTS_SRC   := $(call sources,tests/faults)

PROGRAMS := $(patsubst %,$(BUILD)/%,\
	$(if $(wildcard fcgi/main.c),rushes-fcgi) \
	$(if $(wildcard poller/main.c),rushes-poller) \
	$(if $(SIM_SRC),rushes-simulator) $(if $(STACK_SRC),rushes-activator))
TESTS    := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC) $(DB_SRC) $(STORE_SRC))
BENCHES  := $(patsubst %.c,$(BUILD)/%,$(BENCH_SRC))
FUZZERS  := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))
FETCHER  := $(patsubst %.c,$(BUILD)/%,$(SSRF_SRC))
SHIM     := $(addprefix $(BUILD)/tests/faults/,shim.so clock.so)
GEN      := $(BUILD)/gen/queries.inc $(BUILD)/gen/migrations.inc
ALL_SRC  := $(PURE_SRC) $(WORK_SRC) $(call sources,fcgi poller) \
	$(SUPPORT_SRC) $(SIM_SRC) $(STACK_SRC) $(UNIT_SRC) $(DB_SRC) \
	$(DB_HELP_SRC) $(STORE_SRC) $(BENCH_SRC) $(SSRF_SRC) \
	$(FAULTS_SRC) \
	$(call sources,tests/fuzz)
HDRS     := $(sort $(shell find common fcgi poller tests -name '*.h' \
	-not -path '*/node_modules/*'))

# FORCE is phony so that .SECONDARY cannot make an intermediate file of it,
# which would keep the recipe of $(BUILD)/flags from running.
.PHONY: all tests shim benches fuzzers deps deps-check deps-lint deps-bench \
	deps-fuzz deps-systemd up down demo check check-headers check-systemd \
	check-faults bench soak fuzz valgrind lint asan tsan install \
	uninstall hooks help clean FORCE
all: $(PROGRAMS)
shim: $(SHIM)
tests: all $(TESTS) $(FUZZERS) $(FETCHER)
benches: all $(BENCHES)
fuzzers: $(FUZZERS)

# ---- how things are made -----------------------------------------------

$(BUILD)/gen/queries.inc: sql/gen.awk $(wildcard sql/queries/*.sql)
	@mkdir -p $(@D)
	$(Q)awk -f $< $(sort $(filter %.sql,$^)) /dev/null > $@

$(BUILD)/gen/migrations.inc: sql/gen-migrations.awk $(wildcard sql/schema/*.sql)
	@mkdir -p $(@D)
	$(Q)awk -f $< $(sort $(filter %.sql,$^)) /dev/null > $@

$(BUILD)/%.o: %.c $(BUILD)/flags | $(GEN)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Rebuild everything when the flags change, and only then.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS)' > $@
FORCE:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# Archives, so that a program carries only what it calls: rushes-fcgi links
# neither libcurl nor libs3 unless somebody makes it call a provider. The
# list of members is a file, or a removed source would stay in for ever.
archive = $(call say,AR,$@)rm -f $@; $(AR) rcD $@ $(filter %.o,$^)
$(BUILD)/pure.a: $(call obj,$(PURE_SRC)) $(BUILD)/members
	$(archive)
$(BUILD)/common.a: $(call obj,$(PURE_SRC) $(WORK_SRC)) $(BUILD)/members
	$(archive)
$(BUILD)/fcgi.a: $(call obj,$(FCGI_SRC)) $(BUILD)/members
	$(archive)
$(BUILD)/poller.a: $(call obj,$(POLLER_SRC)) $(BUILD)/members
	$(archive)
$(BUILD)/tests/support.a: $(call obj,$(SUPPORT_SRC)) $(BUILD)/members
	@mkdir -p $(@D)
	$(archive)
$(BUILD)/members: FORCE
	@mkdir -p $(@D)
	@echo '$(ALL_SRC)' | cmp -s - $@ || echo '$(ALL_SRC)' > $@

$(BUILD)/rushes-fcgi: $(call obj,fcgi/main.c) $(BUILD)/fcgi.a $(BUILD)/common.a
	$(LINK) $^ $(ALL_LDLIBS)
$(BUILD)/rushes-poller: $(call obj,poller/main.c) $(BUILD)/poller.a \
		$(BUILD)/common.a
	$(LINK) $^ $(ALL_LDLIBS)
$(BUILD)/rushes-simulator: $(call obj,$(SIM_SRC)) $(BUILD)/pure.a
	$(LINK) $^ $(ALL_LDLIBS) $(shell pkg-config --libs libmicrohttpd)
$(BUILD)/rushes-activator: $(call obj,$(STACK_SRC)) $(BUILD)/pure.a
	$(LINK) $^ $(ALL_LDLIBS)

# Tests of pure code link all pure objects, jansson and libcrypto: one libpq
# call in a provider, and none of them links.
PURE_TESTS := $(filter $(BUILD)/tests/unit/common/base/% \
	$(BUILD)/tests/unit/common/model/% \
	$(BUILD)/tests/unit/common/provider/%,$(TESTS))
$(PURE_TESTS): %: %.o $(call obj,$(PURE_SRC)) $(BUILD)/tests/support.a
	$(LINK) $^ $(PURE_LDLIBS) -lcmocka

WORK_TESTS := $(filter-out $(PURE_TESTS),$(TESTS))
$(WORK_TESTS): %: %.o $(call obj,$(DB_HELP_SRC)) $(BUILD)/tests/support.a \
		$(BUILD)/fcgi.a $(BUILD)/poller.a $(BUILD)/common.a
	$(LINK) $(filter-out $(if $(filter $(BUILD)/tests/db/%,$@),,\
		$(call obj,$(DB_HELP_SRC))),$^) $(ALL_LDLIBS) -lcmocka

$(BENCHES) $(FETCHER): %: %.o $(BUILD)/fcgi.a $(BUILD)/poller.a $(BUILD)/common.a
	$(LINK) $^ $(ALL_LDLIBS)

# Preloaded into programs under test, so it takes libc as it is.
$(SHIM): %.so: %.o
	$(call say,LINK,$@)$(CC) -shared -o $@ $^
$(BUILD)/tests/faults/shim.so: $(BUILD)/tests/faults/shim_memory.o
$(call obj,$(FAULTS_SRC)): CFLAGS += -fPIC -fvisibility=hidden -U_FORTIFY_SOURCE

# With libFuzzer's own main() for "make fuzz", else with one that replays.
$(FUZZERS): %: %.o $(if $(FUZZ_ENGINE),,$(call obj,tests/fuzz/replay.c)) \
		$(BUILD)/fcgi.a $(BUILD)/common.a
	$(LINK) $(FUZZ_ENGINE) $^ $(ALL_LDLIBS)

# ---- running it ---------------------------------------------------------

deps:
	@.ci/deps run
deps-check:
	@.ci/deps run check
deps-lint:
	@.ci/deps run check lint
deps-bench:
	@.ci/deps run check bench
deps-fuzz:
	@.ci/deps run fuzz
deps-systemd:
	@.ci/deps run systemd

# Each of these first installs what is missing and only then reads this file
# again to build: the flags come from a pkg-config that may be new.
# Unless it was told how many jobs to run, it builds on all processors.
export STACK_DIR PORT KEEP ONLY BUILD
again = $(MAKE) --no-print-directory \
	$(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
up: deps
	@$(again) all
	@tests/stack/stack.sh up
down:
	@tests/stack/stack.sh down
demo: deps
	@$(again) all
	@tests/demo/demo.sh

# ---- checks -------------------------------------------------------------

check: deps-check
	@$(again) tests
	@tests/run.sh

asan: deps-check
	@$(again) tests BUILD=build-asan SAN='$(ASAN)'
	@BUILD=build-asan tests/run.sh

tsan: deps-check
	@$(again) tests BUILD=build-tsan SAN='$(TSAN)'
	@BUILD=build-tsan tests/run.sh
TSAN := -fsanitize=thread -fno-omit-frame-pointer
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer

check-systemd: deps-systemd
	@$(again) all
	@tests/systemd/check.sh

check-faults: deps-check
	@$(again) all shim
	@tests/faults/check.sh

bench: deps-bench
	@$(again) benches
	@tests/bench/bench.sh $(CASE)

soak: deps-bench
	@$(again) all
	@MINUTES='$(or $(MINUTES),3)' tests/soak/soak.sh

VALGRIND := valgrind -q --error-exitcode=99 --leak-check=full \
	--errors-for-leak-kinds=definite
valgrind: deps-lint
	@$(again) tests
	@WRAP='$(VALGRIND)' ONLY=unit tests/run.sh

fuzz: deps-fuzz
	@$(again) fuzzers BUILD=build-fuzz CC=clang \
		FUZZ_ENGINE=-fsanitize=fuzzer \
		SAN='-fsanitize=fuzzer-no-link $(ASAN)'
	@BUILD=build-fuzz TIME='$(TIME)' FUZZ='$(FUZZ)' tests/fuzz/fuzz.sh

lint: deps-lint
	@$(again) tests benches check-headers BUILD=build-gcc \
		CC=gcc DEVELOPER=1
	@$(again) tests benches BUILD=build-clang CC=clang DEVELOPER=1
	@$(again) compile_commands.json CC=clang BUILD=build-clang
	@BUILD=build-gcc .ci/lint

# Every header compiles alone.
check-headers: $(HDRS:%=$(BUILD)/headers/%.ok)
$(BUILD)/headers/%.ok: % $(BUILD)/flags | $(GEN)
	@mkdir -p $(@D)
	@echo '#include "$<"' | $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) \
		-Wno-unused-function -Wno-unused-variable -MMD -MP -MT $@ \
		-MF $(@:.ok=.d) -fsyntax-only -xc -
	@touch $@

compile_commands.json: FORCE | $(GEN)
	@{ sep='['; for c in $(ALL_SRC); do \
	   printf '%s\n{"directory":"%s","file":"%s","command":"%s -c %s"}' \
		"$$sep" "$(CURDIR)" "$$c" \
		'$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS)' "$$c"; \
	   sep=','; done; echo; echo ']'; } > $@

# A folder relative to the root of a worktree: in each it is its own.
hooks:
	git config core.hooksPath .ci

# ---- installing ---------------------------------------------------------

# Where an administrator's packages would put them. Everything goes below
# DESTDIR; no user is made, no unit enabled, no daemon told.
LIBEXEC    := $(PREFIX)/libexec/rushes
SHARE      := $(PREFIX)/share/rushes
MANDIR     := $(PREFIX)/share/man
DOCDIR     := $(PREFIX)/share/doc/rushes
SYSTEMDDIR := $(PREFIX)/lib/systemd/system
SYSUSERS   := $(PREFIX)/lib/sysusers.d
TMPFILES   := $(PREFIX)/lib/tmpfiles.d
CATALOG    := $(PREFIX)/lib/systemd/catalog
export LIBEXEC SHARE MANDIR DOCDIR SYSTEMDDIR SYSUSERS TMPFILES CATALOG

install: all
	@BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' .ci/install install
uninstall:
	@BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' .ci/install uninstall

clean:
	@if [ -e build/stack/run/activator.pid ]; then \
		echo 'a stack runs in build/stack: make down first' >&2; exit 1; fi
	rm -rf build build-asan build-tsan build-gcc build-clang build-fuzz \
		compile_commands.json

help:
	@sed -n '/^#   make/,/^#$$/s/^# \{0,3\}//p' Makefile
