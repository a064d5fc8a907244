// Symbol visibility: everything in libkiln is hidden except what carries KILN_API, so that the
// library can live inside any process next to other copies of the libraries it is built from.
#pragma once

#if defined(__GNUC__)
#define KILN_API __attribute__((visibility("default")))
#else
#define KILN_API
#endif
