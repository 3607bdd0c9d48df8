// How often memory has been allocated, by any thread, since the program began: by operator new, and by malloc and
// its kin where those are counted.
#pragma once

#include <cstdint>

namespace gatewright::tests {

int64_t allocations();
bool counts_malloc();

}  // namespace gatewright::tests
