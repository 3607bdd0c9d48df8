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
