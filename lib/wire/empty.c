typedef int sx_wire_empty; /* replaced by the first source file */
