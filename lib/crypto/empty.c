typedef int sx_crypto_empty; /* replaced by the first source file */
