// Python's way into models and streams.
#pragma once

#include <nanobind/nanobind.h>

#include "stream/stream.h"

namespace gatewright {

void bind_models(nanobind::module_& m);
void bind_streams(nanobind::module_& m);
void bind_step_calls(nanobind::module_& m);

// One step of session 0, over memory of the sizes and types that the model has.  Throws nanobind::python_error
// where the input is refused, or another thread is in a call; nothing has changed then.
void step_once(Stream& stream, const void* x, void* out);

}  // namespace gatewright
