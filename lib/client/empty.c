typedef int sx_client_empty; /* replaced by the first source file */
