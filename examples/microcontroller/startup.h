#ifndef STARTUP_H
#define STARTUP_H

#include <stdint.h>

/* The clock counts up to this number, and then begins again. */
#define TICKS (1u << 24)

/* Ticks of the processor's clock. */
uint32_t ticks(void);

#endif
