# Strict arithmetic: what is one rounding in the source is one rounding in the result, on every target.
# libgatewright.a is all that a program in C or C++ links (native/c/gatewright.h).
add_library(gatewright STATIC
  native/c/c_api.cpp native/c/parts.cpp native/kernels/dispatch.cpp native/kernels/plan.cpp
  native/kernels/run_backward.cpp native/kernels/run_forward.cpp native/kernels/step_table.cpp native/stream/check.cpp native/stream/distribution.cpp
  native/stream/encode.cpp native/stream/layer_steps.cpp native/stream/model.cpp native/stream/output.cpp native/stream/stream.cpp
  native/support/amx.cpp native/support/processor.cpp native/support/threads.cpp
  native/support/workspace.cpp)
target_include_directories(gatewright PUBLIC native/c PRIVATE native)
target_compile_options(gatewright PRIVATE ${optimize} -ffp-contract=off -fno-math-errno ${warnings})
target_compile_options(gatewright PUBLIC ${sanitize})
target_link_options(gatewright PUBLIC ${sanitize})
set_target_properties(gatewright PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  target_sources(gatewright PRIVATE native/kernels/target_neon.cpp native/kernels/target_neondot.cpp)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-march=armv8.2-a+dotprod GATEWRIGHT_MARCH_DOTPROD)
  if(GATEWRIGHT_MARCH_DOTPROD)
    set(dot_products -march=armv8.2-a+dotprod)
  else()
    set(dot_products -mcpu=generic+v8_2a+dotprod)  # in Zig's words
  endif()
  set_source_files_properties(native/kernels/target_neondot.cpp PROPERTIES COMPILE_OPTIONS ${dot_products})
else()
  target_sources(gatewright PRIVATE native/kernels/target_baseline.cpp native/kernels/target_avx2.cpp native/kernels/target_avxvnni.cpp
    native/kernels/target_avx512.cpp native/kernels/target_avx512vnni.cpp
    native/kernels/target_avx512bf16.cpp native/kernels/target_amx.cpp native/kernels/target_amxmodel.cpp)
  set_source_files_properties(native/kernels/target_avx2.cpp PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  set_source_files_properties(native/kernels/target_avxvnni.cpp PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mavxvnni")
  set_source_files_properties(native/kernels/target_avx512.cpp PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma;-mavx512f;-mavx512dq;-mavx512bw;-mavx512vl")
  set_source_files_properties(native/kernels/target_avx512vnni.cpp PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma;-mavx512f;-mavx512dq;-mavx512bw;-mavx512vl;-mavx512vnni")
  set_source_files_properties(native/kernels/target_avx512bf16.cpp PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma;-mavx512f;-mavx512dq;-mavx512bw;-mavx512vl;-mavx512bf16")
  set_source_files_properties(native/kernels/target_amx.cpp PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma;-mavx512f;-mavx512dq;-mavx512bw;-mavx512vl;-mavx512bf16;-mamx-tile;-mamx-bf16")
  set_source_files_properties(native/kernels/target_amxmodel.cpp PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma;-mavx512f;-mavx512dq;-mavx512bw;-mavx512vl")
endif()
