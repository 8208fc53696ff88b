typedef int sx_ratchet_empty; /* replaced by the first source file */
