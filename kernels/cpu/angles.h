/* angles.h - cosines and sines for rotary positions, for any instruction set. */
#ifndef MIDPASS_CPU_ANGLES_H
#define MIDPASS_CPU_ANGLES_H

/* As backend.angles. */
void angles_fill(const float *inv_freq, int r, float scale, int pos0, int n, float *out);

#endif
