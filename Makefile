# midpass. `make help` lists the targets.
#
#   make test T=json        only the test programs with "json" in their path
#   make B=build/mine       another build folder, to build twice at the same time
#   make V=1                the whole command lines
VERSION := 0.1.0

# One build folder for each mode, so that no mode ever links another's objects.
MODE   ?= release
B      ?= $(if $(filter release,$(MODE)),build,build/$(MODE))
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
# All cores, unless told otherwise or told to clean first and then build.
ifeq ($(MAKELEVEL)$(filter clean,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2) --no-print-directory
endif
Q := $(if $(V),,@)

# ---- flags -----------------------------------------------------------------------------------
# -ffp-contract=off: the same bits on every instruction set. -fno-math-errno lets sqrtf be one
# instruction. Sanitizers run at -O1, where their reports still name the right lines.
OPT.release  := -O2
OPT.asan     := -O1 -fno-omit-frame-pointer -fsanitize=address
OPT.ubsan    := -O1 -fno-omit-frame-pointer -fsanitize=undefined,float-cast-overflow \
                -fno-sanitize-recover=all
OPT.valgrind := -O1
OPT.fuzz     := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
                -fno-sanitize-recover=all
OPT := $(OPT.$(MODE))
$(if $(OPT),,$(error MODE is one of release asan ubsan valgrind fuzz, not "$(MODE)"))

# (the sanitizers' code gives gcc wrong ideas, so warnings are errors without them alone)
WERROR ?= $(if $(filter true 1,$(CI)),$(filter release,$(MODE)))
WARN   := -Wall -Wextra -Wshadow $(if $(filter-out 0,$(WERROR)),-Werror)
FLAGS   = -std=c11 -D_GNU_SOURCE -DMIDPASS_VERSION=\"$(VERSION)\" -I. -g $(OPT) -fopenmp \
          -ffp-contract=off -fno-math-errno $(WARN) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS)

# Two kinds of files alone may use wider instructions: which of them runs is decided at run time.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)),)
AVX2   := -mavx2 -mfma -mf16c
AVX512 := $(patsubst %,-mavx512%,f bw dq vl cd) -mfma -mf16c
endif
$(B)/obj/kernels/cpu/%_avx2.o:   ISA := $(AVX2)
$(B)/obj/kernels/cpu/%_avx512.o: ISA := $(AVX512)
# No fuzzer aims at the arithmetic, and clang takes a quarter of an hour to instrument it.
KERNEL_OPT := $(if $(filter fuzz,$(MODE)),-O1,$(OPT))
$(B)/obj/kernels/%.o: OPT := $(patsubst -O%,-O$(if $(filter release,$(MODE)),3,2),$(KERNEL_OPT))

# pkg-config knows where the libraries are; without it they are where they usually are.
pkg         = $(shell pkg-config $(1) 2>/dev/null || echo $(2))
PKG_CFLAGS := $(call pkg,--cflags libcjson libpcre2-8 libutf8proc readline ncursesw)
LIBS       := $(call pkg,--libs libcjson libpcre2-8 libutf8proc readline ncursesw,\
                -lcjson -lpcre2-8 -lutf8proc -lreadline -lncursesw -ltinfo) -lm -ldl -lpthread
TEST_LIBS  := $(call pkg,--libs cmocka,-lcmocka) $(call pkg,--libs vterm,-lvterm) -lutil
LDFLAGS    += -Wl,--as-needed

# ---- what there is to build --------------------------------------------------------------------
sources = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
TUI     := $(call sources,tui)
ENGINE  := $(call sources,engine)
KERNELS := $(filter-out kernels/cuda/%,$(call sources,kernels))
SUPPORT := $(wildcard tests/support/*.c)
TESTS   := $(wildcard $(patsubst %,tests/%/test_*.c,golden kernels tui unit))
FUZZERS := $(wildcard tests/fuzz/fuzz_*.c)
# bench_model makes the checkpoints that others take.
BENCHES := $(patsubst %,tests/bench/bench_%.c,kernels model debug screen)
SCRIPTS := $(wildcard tests/cli/*.sh) tests/tools/check-deps.sh tests/tools/test-check-deps.sh
SCRIPTS := $(if $(filter release,$(MODE)),$(SCRIPTS),$(filter tests/cli/%,$(SCRIPTS)))
# libtui.a is the screen without its main(), so that tests can link it.
OURS    := $(addprefix $(B)/,libtui.a libmidpass.a libkernels.a)

OBJECTS  := $(call objects,$(TUI) $(ENGINE) $(KERNELS) $(SUPPORT) $(TESTS) $(FUZZERS) $(BENCHES) \
              tests/fuzz/replay.c)
PROGRAM  := $(if $(filter tui/main.c,$(TUI)),$(B)/midpass)
PROGRAMS := $(TESTS:%.c=$(B)/%) $(FUZZERS:tests/fuzz/fuzz_%.c=$(B)/tests/fuzz/replay_%)
CHOSEN   := $(if $(T),$(foreach t,$(PROGRAMS) $(SCRIPTS),$(if $(findstring $(T),$t),$t)),\
              $(PROGRAMS) $(SCRIPTS))

all: $(PROGRAM) $(OURS) cuda ## build build/midpass (the default)
	@:
tests: $(PROGRAM) $(PROGRAMS) cuda
benches: $(BENCHES:%.c=$(B)/%)

# ---- how it is built ---------------------------------------------------------------------------
say  = @echo "  $(1) $@"
link = $(Q)mkdir -p $(@D) && $(CC) $(OPT) -fopenmp $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

$(B)/midpass: $(B)/obj/tui/main.o $(OURS)
	$(call say,LD)
	$(link)

$(B)/tests/%: $(B)/obj/tests/%.o $(B)/libsupport.a $(OURS)
	$(call say,LD)
	$(link)

$(B)/tests/fuzz/replay_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o \
                          $(B)/libsupport.a $(OURS)
	$(call say,LD)
	$(link)

$(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(OURS)
	$(call say,LD)
	$(link) -fsanitize=fuzzer

$(B)/tests/%: LIBS += $(TEST_LIBS)

$(B)/libtui.a:     $(call objects,$(filter-out tui/main.c,$(TUI)))
$(B)/libmidpass.a: $(call objects,$(ENGINE))
$(B)/libkernels.a: $(call objects,$(KERNELS))
$(B)/libsupport.a: $(call objects,$(SUPPORT))
$(B)/%.a: $(B)/sources
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(OBJECTS): $(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC)
	$(Q)mkdir -p $(@D) && $(CC) $(FLAGS) $(ISA) -MMD -MP -c -o $@ $<

# Rewritten only when what they hold has changed: other flags compile everything again, and a file
# that came or went makes its library anew.
FLAGS_NOW   := $(CC) $(FLAGS) $(AVX2) $(AVX512)
SOURCES_NOW := $(TUI) $(ENGINE) $(KERNELS) $(SUPPORT)
remember = @mkdir -p $(B); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
$(B)/flags: FORCE
	@tests/tools/deps.sh check build $(if $(findstring clang,$(CC)),clang)
	$(call remember,$(FLAGS_NOW))
$(B)/sources: FORCE
	$(call remember,$(SOURCES_NOW))

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# ---- CUDA: a plug-in, loaded at run time, so the program itself never needs it -------------------
# A program looks for it beside itself: thus the links beside the tests.
CUDA := $(wildcard kernels/cuda/*.cu)
ifndef NVCC
NVCC := $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
endif
ifneq ($(MODE),release)
cuda: ;
else ifeq ($(CUDA),)
cuda: ; @echo "no kernels/cuda/*.cu: building without CUDA"
else ifeq ($(NVCC),)
cuda: ; @echo "no nvcc: building without CUDA"
else
PLUGIN     := $(B)/midpass_cuda.so
GPUS       := $(patsubst sm_%,%,$(filter sm_80 sm_89 sm_90,$(shell $(NVCC) --list-gpu-code)))
NVCC_FLAGS := -O3 -std=c++17 -I. -cudart=static -Xcompiler -fPIC,-fvisibility=hidden,-Wall
GENCODE    := $(foreach g,$(GPUS),-gencode arch=compute_$g,code=sm_$g) \
              $(foreach g,$(lastword $(GPUS)),-gencode arch=compute_$g,code=compute_$g)
# Hopper's own instructions: a file for that target alone, empty where nvcc does not know it.
HOPPER     := -gencode arch=compute_90a,code=sm_90a
HOPPER     := $(if $(shell $(NVCC) $(HOPPER) --dryrun -c -x cu /dev/null >/dev/null 2>&1 && echo 1),\
                $(HOPPER) -DMIDPASS_SM_90A)
cuda: $(PLUGIN)
$(B)/obj/kernels/cuda/flash_wgmma.o: GENCODE := $(or $(HOPPER),$(GENCODE))
$(PLUGIN): $(CUDA:%.cu=$(B)/obj/%.o)
	$(call say,NV)
	$(Q)$(NVCC) -shared -cudart=static -o $@ $^ -lcublas
	@for d in kernels golden bench; do \
	    mkdir -p $(B)/tests/$$d; ln -sf ../../$(@F) $(B)/tests/$$d/; done
$(CUDA:%.cu=$(B)/obj/%.o): $(B)/obj/%.o: %.cu $(B)/flags.cuda
	$(call say,NV)
	$(Q)mkdir -p $(@D) && $(NVCC) $(NVCC_FLAGS) $(GENCODE) -MMD -MP -c -o $@ $<
$(B)/flags.cuda: FORCE
	$(call remember,$(NVCC) $(NVCC_FLAGS) $(GENCODE) $(HOPPER))
endif

# ---- running and testing -------------------------------------------------------------------------
# `run` and `test` install what is missing, and then make starts over: what pkg-config says is new.
run: ## install what is missing, build, run: make run MODEL=... ARGS="..."
	@tests/tools/deps.sh install build
	@$(MAKE) all
	$(B)/midpass $(ARGS) $(or $(MODEL),tests/models/demo)

test: ## install what is missing, build, run all tests
	@tests/tools/deps.sh install build test
	@$(MAKE) check

# With T= the program itself is built only where a chosen test runs it.
check: $(filter-out %.sh,$(CHOSEN)) \
       $(if $(T),$(if $(filter %.sh $(B)/tests/tui/%,$(CHOSEN)),$(PROGRAM)),tests)
	@tests/tools/run-tests.sh $(B) $(CHOSEN)

test-asan: ## the tests under the address sanitizer, leaks included
	@MODE=asan $(MAKE) test
test-ubsan: ## the tests under the undefined behaviour sanitizer
	@MODE=ubsan $(MAKE) test
test-valgrind: ## the tests under valgrind (slow)
	@tests/tools/deps.sh install valgrind
	@MODE=valgrind TEST_WRAP=tests/tools/valgrind.sh TEST_TIMEOUT=$${TEST_TIMEOUT:-3600} \
	    $(MAKE) test

test-cuda: ## the tests of the CUDA plug-in, on a machine with a GPU
	@tests/tools/deps.sh install build test
	@$(MAKE) tests
	@tests/tools/test-cuda.sh $(B)

bench: ## build and run the benchmarks
	@tests/tools/deps.sh install build test
	@$(MAKE) benches
	@set -e; for b in $(BENCHES:%.c=$(B)/%); do echo "== $$b"; $$b; done

test-keys: ## 20,000 random keys and sizes for the screen, under the address sanitizer
	@tests/tools/deps.sh install build test
	@MIDPASS_KEYS=20000 MODE=asan TEST_TIMEOUT=1800 TEST_VERBOSE=1 $(MAKE) check T=test_keys

golden-screens: ## write what the panels draw to tests/tui/golden/ again; look at the difference
	@MIDPASS_GOLDEN=1 TEST_VERBOSE=1 $(MAKE) check T=test_screens

screenshots: all ## pictures of the screen in xterm, to screenshots/
	@tests/tools/deps.sh install screenshots
	@tests/tools/screenshots.sh $(B)

fuzz: ## run each fuzzer for FUZZ_SECONDS (60); what they find goes to build/fuzz/
	@tests/tools/deps.sh install build fuzz
	@MODE=fuzz $(MAKE) CC=$(if $(findstring clang,$(CC)),$(CC),clang) fuzzers
	@tests/tools/fuzz.sh build/fuzz $(FUZZ_SECONDS) $(FUZZERS:tests/fuzz/fuzz_%.c=%)
fuzzers: $(FUZZERS:tests/fuzz/%.c=$(B)/%)

golden: ## compute the reference values again, with PyTorch and transformers
	@tests/tools/golden.sh

# ---- keeping it tidy -----------------------------------------------------------------------------
OUR_C = $(shell find tui engine kernels tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh')
format: ## lay out all C as .clang-format says
	@tests/tools/deps.sh install format
	@clang-format -i $(OUR_C)
format-check: ## fail where `make format` would change something
	@tests/tools/deps.sh install format
	@clang-format --dry-run -Werror $(OUR_C)
lint: ## both compilers with all warnings, and clang-tidy
	@tests/tools/deps.sh install build test lint
	@$(MAKE) B=build/lint-gcc CC=gcc WERROR=1 NVCC= tests benches
	@$(MAKE) B=build/lint-clang CC=clang WERROR=1 NVCC= tests benches
	@AVX2='$(AVX2)' AVX512='$(AVX512)' tests/tools/lint.sh \
	    -std=c11 -D_GNU_SOURCE '-DMIDPASS_VERSION=\"$(VERSION)\"' -I. $(PKG_CFLAGS)
man-check: ## look for faults in the man page, with mandoc or man, whichever is there
	@if command -v mandoc >/dev/null; then mandoc -Tlint -Wwarning tui/midpass.1; \
	elif command -v groff >/dev/null; then \
	    said=$$(groff -man -Tutf8 -ww -z tui/midpass.1 2>&1); echo "$$said"; [ -z "$$said" ]; \
	else echo "man-check: neither mandoc nor groff is here"; fi
check-deps: ## fail where a part knows of another that it should not
	@tests/tools/check-deps.sh
deps: ## install the packages that building and testing need
	@tests/tools/deps.sh install build test

# Program and plug-in lie side by side, since that is where the one looks for the other.
LIBDIR = $(DESTDIR)$(PREFIX)/lib/midpass
SHARE = $(DESTDIR)$(PREFIX)/share
install: all ## install to $(DESTDIR)$(PREFIX), /usr/local by default
	install -D -t $(LIBDIR) $(B)/midpass $(PLUGIN)
	mkdir -p $(DESTDIR)$(PREFIX)/bin
	ln -sf ../lib/midpass/midpass $(DESTDIR)$(PREFIX)/bin/midpass
	install -D -m 644 -t $(SHARE)/man/man1 tui/midpass.1
	install -D -m 644 tui/completion/midpass.bash $(SHARE)/bash-completion/completions/midpass
	install -D -m 644 -t $(SHARE)/zsh/site-functions tui/completion/_midpass
uninstall: ## remove what install put there
	rm -f $(LIBDIR)/midpass $(LIBDIR)/midpass_cuda.so
	-rmdir $(LIBDIR)
	rm -f $(DESTDIR)$(PREFIX)/bin/midpass $(SHARE)/man/man1/midpass.1 \
	    $(SHARE)/bash-completion/completions/midpass $(SHARE)/zsh/site-functions/_midpass
clean: ## remove build/
	rm -rf build
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

FORCE:
.PHONY: all tests benches cuda run test check test-keys golden-screens screenshots \
        test-asan test-ubsan test-valgrind test-cuda bench fuzz fuzzers golden format format-check lint man-check \
        check-deps deps install uninstall clean help
