/* The model of model.c, step by step: reads what each step takes from standard input, and prints what it gives.
 *
 * Input is numbers in text with white space between them, one step's after the other's: the columns of a row, with
 * "nan" for a target that is missing; or the number of a symbol.  Each step's output is a line of hexadecimal
 * numbers, which say exactly what came out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gatewright.h"
#include "model.h"

static void need(gatewright_status status, int64_t step) {
    if (status == GATEWRIGHT_OK) return;
    fprintf(stderr, "step %" PRId64 ": %s\n", step, gatewright_status_text(status));
    exit(EXIT_FAILURE);
}

/* Each returns how many numbers it could read, after a step if that was all of them. */
static int step_row(gatewright_stream* stream, int64_t step) {
    static double row[MODEL_INPUT], forecast[MODEL_OUTPUT];
    int k = 0;
    while (k < MODEL_INPUT && scanf("%lf", &row[k]) == 1) ++k;
    if (k < MODEL_INPUT) return k;
    need(gatewright_step_series(stream, 0, row, forecast), step);
    for (k = 0; k < MODEL_OUTPUT; ++k) printf("%a ", forecast[k]);
    return MODEL_INPUT;
}

static int step_symbol(gatewright_stream* stream, int64_t step) {
    static float scores[MODEL_OUTPUT];
    int64_t symbol;
    int k;
    if (scanf("%" SCNd64, &symbol) != 1) return 0;
    need(gatewright_step_symbol(stream, 0, symbol, scores), step);
    for (k = 0; k < MODEL_OUTPUT; ++k) printf("%a ", scores[k]);
    return 1;
}

int main(void) {
    gatewright_model* model;
    gatewright_stream* stream;
    int64_t step = 0;
    int got;

    need(gatewright_model_create(&model_parts, &model), 0);
    need(gatewright_stream_create(model, 1, &stream), 0);
    gatewright_model_destroy(model); /* the stream keeps what it needs */
    while ((got = model_parts.columns ? step_row(stream, step) : step_symbol(stream, step)) == MODEL_INPUT) {
        printf("\n");
        ++step;
    }
    gatewright_stream_destroy(stream);
    if (got != 0 || !feof(stdin)) {
        fprintf(stderr, "step %" PRId64 ": expected %d numbers, got %d\n", step, MODEL_INPUT, got);
        return EXIT_FAILURE;
    }
    fprintf(stderr, "%" PRId64 " steps on %s\n", step, gatewright_target());
    return EXIT_SUCCESS;
}
