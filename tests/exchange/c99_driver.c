/* Advances two sessions of a model: reads records of a session and its input, all as double, from standard input,
 * and writes of each the status and what the step gave, as double.  A session below 0 is reset first.  On a board
 * with a clock (TICKS) it also says how long a step takes. */
#include <stdio.h>

#include "model.h"

#ifdef MODEL_HORIZON
typedef model_number output;
#else
typedef float output;
#endif
#ifndef MODEL_INPUT
#define MODEL_INPUT 1
#define SYMBOLS
#endif

int main(void) {
    static model_state states[2];
    double record[1 + MODEL_INPUT], given[1 + MODEL_OUTPUT];
    output y[MODEL_OUTPUT] = {0};
    model_reset(&states[0]);
    model_reset(&states[1]);
#ifdef TICKS
    uint32_t steps = 0, spent = 0;
#endif
    while (fread(record, sizeof record, 1, stdin) == 1) {
        const int session = record[0] < 0 ? (int)(-1 - record[0]) : (int)record[0];
        if (record[0] < 0) model_reset(&states[session]);
#ifdef TICKS
        const uint32_t before = ticks();
#endif
#ifdef SYMBOLS
        given[0] = model_step(&states[session], (int32_t)record[1], y);
#else
        model_number row[MODEL_INPUT];
        for (int k = 0; k < MODEL_INPUT; ++k) row[k] = (model_number)record[1 + k];
        given[0] = model_step(&states[session], row, y);
#endif
#ifdef TICKS
        spent += (ticks() - before) % TICKS;
        ++steps;
#endif
        for (int k = 0; k < MODEL_OUTPUT; ++k) given[1 + k] = (double)y[k];
        if (fwrite(given, sizeof given, 1, stdout) != 1) return 1;
    }
#ifdef TICKS
    fprintf(stderr, "%lu", (unsigned long)(spent / steps));
#endif
    return 0;
}
