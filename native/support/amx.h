// Whether this process may use the tile registers of Intel AMX.
#pragma once

namespace gatewright {

// Asks the processor, then the system, once a process: Linux gives each process the registers on request.
bool amx_permitted();

}  // namespace gatewright
