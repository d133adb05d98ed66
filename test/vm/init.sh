#!/bin/busybox sh
# First process of the virtual machine: the host's root, read-only, under a tmpfs; cgroup hierarchies; then the guest's
# command. It says when it begins and with what it ended, and turns the machine off.
bb=/bin/busybox
end() { echo; echo "@@guest-ended $1@@"; echo o > /proc/sysrq-trigger; echo o > /root/proc/sysrq-trigger; $bb sleep 60; }

$bb mkdir -p /proc /sys /dev /host /layer /root
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
for word in $($bb cat /proc/cmdline); do
  case $word in guest.cgroup=*) cgroup=${word#guest.cgroup=} ;; esac
done
$bb insmod /overlay.ko
$bb mount -t devtmpfs dev /dev 2>/dev/null || $bb mount -t tmpfs dev /dev
node() { [ -e "/dev/$1" ] || $bb mknod -m 666 "/dev/$1" "$2" "$3" "$4"; }
node ubda b 98 0; node null c 1 3; node zero c 1 5; node full c 1 7; node random c 1 8; node urandom c 1 9; node tty c 5 0; node fuse c 10 229

$bb mount -t hostfs -o / -r none /host || end 125
$bb mount -t tmpfs -o size=80% layer /layer
$bb mkdir /layer/upper /layer/work
$bb mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root || end 125
for directory in proc sys dev; do $bb mount -o move /$directory /root/$directory; done
# A checkout below /tmp must still be there when /tmp is another one.
checkout=$($bb cat /checkout)
$bb mkdir /kept
$bb mount -o bind "/root$checkout" /kept || end 125
$bb mount -t tmpfs -o mode=1777 tmp /root/tmp
case $checkout in /tmp/*) $bb mkdir -p "/root$checkout" && $bb mount -o bind /kept "/root$checkout" || end 125 ;; esac
$bb umount /kept
$bb mount -t tmpfs run /root/run
$bb mkdir -p /root/dev/pts /root/dev/shm
$bb mount -t devpts -o mode=620,ptmxmode=666 pts /root/dev/pts
$bb mount -t tmpfs -o mode=1777 shm /root/dev/shm
[ -e /root/dev/ptmx ] || $bb ln -s pts/ptmx /root/dev/ptmx
[ -e /root/dev/fd ] || $bb ln -s /proc/self/fd /root/dev/fd

hierarchies=/root/sys/fs/cgroup
case $cgroup in
v2)
  $bb mount -t cgroup2 cgroup2 $hierarchies || end 125
  ;;
*)
  $bb mount -t tmpfs cgroup $hierarchies
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids hugetlb; do
    $bb mkdir $hierarchies/$controller
    $bb mount -t cgroup -o $controller cgroup $hierarchies/$controller 2>/dev/null || $bb rmdir $hierarchies/$controller
  done
  ;;
esac
if [ "$cgroup" = hybrid ]; then
  $bb mkdir $hierarchies/unified
  $bb mount -t cgroup2 cgroup2 $hierarchies/unified
fi

if [ -d /root/sys/block/ubda ]; then
  # A disk of an earlier machine has its file system.
  $bb mount -t ext4 /root/dev/ubda /root/mnt 2>/dev/null || {
    $bb mke2fs /root/dev/ubda >/dev/null && { $bb mount -t ext4 /root/dev/ubda /root/mnt || $bb mount -t ext2 /root/dev/ubda /root/mnt; } || end 125
  }
fi

$bb ip link set lo up
$bb hostname guest
$bb cp /command /root/run/guest-command
cd /root || end 125
$bb mount -o move . /
echo "@@guest-began@@"
$bb chroot . /bin/sh /run/guest-command </dev/null 2>&1
status=$?
bb=./bin/busybox
echo; echo "@@guest-ended $status@@"
echo o > ./proc/sysrq-trigger
$bb sleep 60
