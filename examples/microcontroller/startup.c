/* What a Cortex-M4 does before main(): memory, the floating point unit, the C library.  And its clock. */
#include "startup.h"

#include <stdlib.h>

/* Of the linker script. */
extern uint32_t stack_top, data_start, data_end, data_in_flash, bss_start, bss_end;

extern int main(void);
extern void initialise_monitor_handles(void); /* of newlib: input and output by semihosting */
extern void __libc_init_array(void);

#define CPACR (*(volatile uint32_t*)0xE000ED88u)
#define SYSTICK_CONTROL (*(volatile uint32_t*)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t*)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t*)0xE000E018u)

void reset_handler(void);
void fault_handler(void);

void reset_handler(void) {
    CPACR |= 0xFu << 20; /* the floating point unit is off after a reset */
    __asm volatile("dsb\n isb");
    uint32_t* from = &data_in_flash;
    for (uint32_t* to = &data_start; to < &data_end;) *to++ = *from++;
    for (uint32_t* to = &bss_start; to < &bss_end;) *to++ = 0;
    SYSTICK_RELOAD = TICKS - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, by the processor's clock, without an interrupt */
    initialise_monitor_handles();
    __libc_init_array();
    exit(main());
}

void fault_handler(void) { abort(); }

/* The C library calls them. */
void _init(void);
void _init(void) {}
void _fini(void);
void _fini(void) {}

uint32_t ticks(void) { return TICKS - 1 - SYSTICK_VALUE; }

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t* stack;
    void (*handlers[15])(void);
} vectors = {
    &stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler},
};
