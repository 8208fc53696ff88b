typedef int sx_agent_empty; /* replaced by the first source file */
