// Python's way into models and streams.
#pragma once

#include <nanobind/nanobind.h>

namespace gatewright {

void bind_streams(nanobind::module_& m);

}  // namespace gatewright
