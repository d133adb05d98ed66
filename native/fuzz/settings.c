#include "fuzz.h"
#include "../launch/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct settings settings;
	struct health_settings health;
	if (settings_read(&settings, bytes, (uint32_t)size) == 0) {
		touch_string(settings.directory, bytes, size);
		touch_string(settings.oom_file, bytes, size);
		for (char **arg = settings.exit_args; *arg; arg++)
			touch_string(*arg, bytes, size);
	}
	if (health_settings_read(&health, bytes, (uint32_t)size) == 0 && health.plan + health.plan_size > bytes + size)
		abort();
	return 0;
}
