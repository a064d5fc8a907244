# Designated initialisers that leave fields at their defaults are the house style, not a mistake.
set(KILN_WARNINGS -Wall -Wextra -Wno-missing-field-initializers)
