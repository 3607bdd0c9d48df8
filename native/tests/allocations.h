// How often memory has been allocated, by any thread, since the program began.
#pragma once

#include <cstdint>

namespace gatewright::tests {

int64_t allocations();

}  // namespace gatewright::tests
