"""A recipe is one runnable story: data, arms, questions, claims; `run` walks it from pictures to report and can be killed anywhere."""
