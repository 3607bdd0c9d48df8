/* What the interface in JavaScript needs next to a model: where memory is free, and the size of a session. */
#include "model.h"

extern unsigned char __heap_base;

unsigned char* free_memory(void);
uint32_t state_size(void);

unsigned char* free_memory(void) { return &__heap_base; }

uint32_t state_size(void) { return sizeof(model_state); }
