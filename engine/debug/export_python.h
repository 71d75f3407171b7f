/* export_python.h - a session's prompt and patches as a TransformerLens script. */
#ifndef MIDPASS_EXPORT_PYTHON_H
#define MIDPASS_EXPORT_PYTHON_H

#include "engine/debug/command.h"

/* Writes the script to path, and arrays that are too long for it to path.safetensors. Patches
 * that TransformerLens has no hook for are comments; *left_out is how many. */
bool export_python(struct console *c, const char *path, int *left_out, struct error *err);

#endif
