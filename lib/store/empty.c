typedef int sx_store_empty; /* replaced by the first source file */
