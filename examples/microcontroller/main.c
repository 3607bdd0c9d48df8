/* Reads rows of a forecaster, a classifier or a tagger, as numbers with spaces between them, and prints what the
 * model gives of each: a line of numbers a row.  A missing value is "nan". */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"
#include "startup.h"

#ifdef MODEL_HORIZON
typedef model_number output;
#else
typedef float output;
#endif

int main(void) {
    static model_state state;
    static model_number row[MODEL_INPUT];
    static output y[MODEL_OUTPUT];
    uint32_t steps = 0, spent = 0;
    char word[64];
    model_reset(&state);
    for (;;) {
        for (int k = 0; k < MODEL_INPUT; ++k) {
            if (scanf("%63s", word) != 1) {
                fprintf(stderr, "%u rows, %u ticks a step\n", (unsigned)steps,
                        (unsigned)(steps ? spent / steps : 0));
                return k > 0;
            }
            row[k] = (model_number)strtod(word, NULL);
        }
        const uint32_t before = ticks();
        const model_status status = model_step(&state, row, y);
        spent += (ticks() - before) % TICKS;
        if (status != MODEL_OK) {
            fprintf(stderr, "row %u: refused, status %d\n", (unsigned)steps, (int)status);
            return 1;
        }
        ++steps;
        for (int k = 0; k < MODEL_OUTPUT; ++k) printf("%.9g%c", (double)y[k], k + 1 < MODEL_OUTPUT ? ' ' : '\n');
    }
}
