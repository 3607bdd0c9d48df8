/* The part of math.h that models use, for WebAssembly: instructions of its own, or functions that the caller
 * gives. */
#ifndef MATH_H
#define MATH_H

#define NAN __builtin_nanf("")
#define isnan(x) __builtin_isnan(x)
#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define sqrtf(x) __builtin_sqrtf(x)
#define copysign(x, y) __builtin_copysign(x, y)
#define copysignf(x, y) __builtin_copysignf(x, y)

static inline double fmax(double x, double y) { return x > y ? x : y; }

double exp(double x);

/* By its series near 0, and by its continued fraction beyond. */
static inline float erfcf(float of) {
    const double x = of < 0 ? -(double)of : (double)of;
    double value;
    if (x < 2.5) {
        double term = x, sum = x;
        for (int n = 1; n < 100; ++n) {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        value = 1 - 1.1283791670955126 * exp(-x * x) * sum;
    } else {
        double fraction = x;
        for (int n = 60; n > 0; --n) fraction = x + n / 2.0 / fraction;
        value = exp(-x * x) / fraction * 0.5641895835477563;
    }
    return (float)(of < 0 ? 2 - value : value);
}

double expm1(double x);
double log(double x);
double log1p(double x);
double asinh(double x);
double sinh(double x);
float expf(float x);
float expm1f(float x);
float logf(float x);
float log1pf(float x);
float asinhf(float x);
float sinhf(float x);

#endif
