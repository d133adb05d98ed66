#include "fuzz.h"
#include "../launch/plan.h"

static struct plan plan;

static void touch_all(char **strings, const uint8_t *bytes, size_t size)
{
	for (; *strings; strings++)
		touch_string(*strings, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint32_t bad;
	if (plan_read(&plan, bytes, size, &bad) == 0) {
		touch_all(plan.argv, bytes, size);
		touch_all(plan.envp, bytes, size);
		touch_all(plan.candidates, bytes, size);
		for (uint32_t i = 0; i < plan.count; i++) {
			struct cursor c = cursor_of(&plan.ops[i]);
			if (c.at < bytes || c.end > bytes + size)
				abort();
		}
	}
	plan_free(&plan);
	return 0;
}
