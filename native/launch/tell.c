/* What happens on the way to a program, told to a log at the moment when it happens. */
#include "frames.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void tell(int fd, const char *format, ...)
{
	char text[3072];
	va_list values;
	if (fd < 0)
		return;
	int error = errno;
	va_start(values, format);
	int length = vsnprintf(text, sizeof text, format, values);
	va_end(values);
	if (length >= (int)sizeof text)
		length = sizeof text - 1;
	if (length > 0)
		send_frame(fd, FRAME_TOLD, 0, text, (uint32_t)length);
	errno = error;
}
