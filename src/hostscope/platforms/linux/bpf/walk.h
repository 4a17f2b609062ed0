/* Paths: from an entry up to the root of its tree, as d_path() does. Names are emitted leaf first, each with its NUL.
 * The kernel's bpf_d_path() does not serve: sleepable iterators may not call it before 6.2. Nothing is locked, so a
 * rename under our feet can mix two truths; d_path() would retry. */

enum { DEEPEST = 256, DEEPEST_PLAIN = 32, NAME_SLOT = 256 };

INLINE u64 mount_of(struct vfsmount *inner) {
	return (u64)inner - FIELD_OFFSET(((struct mount *)0)->mnt);
}

INLINE long emit_name(struct scratch *s, struct dentry *entry) {
	const unsigned char *name = NULL;
	u64 used = s->paths_used;
	long size;

	if (used > PATHS_SLOT - NAME_SLOT)
		return 1;
	READ(&name, &entry->d_name.name);
	size = bpf_probe_read_kernel_str(s->paths + used, NAME_SLOT, name);
	if (size <= 0)
		return 1;
	s->paths_used = used + size;
	return 0;
}

INLINE long climb_mount(struct walk *w) {
	struct mount *here = (void *)w->mount, *above = NULL;

	READ(&above, &here->mnt_parent);
	if (above == here) { /* the global root */
		w->arrived = 1;
		return 1;
	}
	if (!above)
		return 1;
	READ(&w->entry, (u64 *)&here->mnt_mountpoint);
	READ(&w->top, (u64 *)&above->mnt.mnt_root);
	w->mount = (u64)above;
	return 0;
}

/* The entry is in no tree, such as a memfd's: its name is all there is. Inside a walk it means that the directory was
 * moved out of what its mount shows, and the path cannot be told. */
INLINE long end_outside(struct scratch *s, struct dentry *entry, bool first) {
	if (first)
		s->walk.nameless = s->walk.arrived = !emit_name(s, entry);
	return 1;
}

/* One step up; 1 ends the walk. */
INLINE long step_up(struct scratch *s, u32 index) {
	struct walk *w = &s->walk;
	struct dentry *entry = (void *)w->entry;
	u64 parent = 0;

	if (w->entry == s->our_root && w->mount == s->our_mount) {
		w->arrived = 1;
		return 1;
	}
	if (w->entry == w->top)
		return climb_mount(w);
	READ(&parent, (u64 *)&entry->d_parent);
	if (parent == w->entry)
		return end_outside(s, entry, index == 0);
	if (emit_name(s, entry))
		return 1;
	w->entry = parent;
	return 0;
}

static long step_up_callback(u32 index, void *unused) {
	struct scratch *s = get_scratch();

	return s ? step_up(s, index) : 1;
}

/* Zeroes up to the next multiple of eight. */
INLINE void pad_paths(struct scratch *s) {
	u64 used = s->paths_used;
	u64 *last;

	if (used > PATHS_SLOT)
		return;
	last = (u64 *)(s->paths + (used & ~7ull));
	*last &= (1ull << ((used & 7) * 8)) - 1;
	s->paths_used = (used + 7) & ~7ull;
}

INLINE bool is_unlinked(struct dentry *entry) {
	return !entry->d_hash.pprev && entry->d_parent != entry;
}

/* Appends the path of (entry, mount) to `paths`; returns its size. `walk.arrived` is 0 when it is not whole. */
INLINE u32 read_path(struct scratch *s, struct vfsmount *mount, struct dentry *entry, const bool loops) {
	struct walk *w = &s->walk;
	u64 start = s->paths_used;
	u32 size;

	w->entry = (u64)entry;
	w->mount = mount_of(mount);
	w->arrived = w->nameless = 0;
	w->top = (u64)mount->mnt_root;
	if (loops)
		bpf_loop(DEEPEST, step_up_callback, NULL, 0);
	else
		for (u32 i = 0; i < DEEPEST_PLAIN; i++)
			if (step_up(s, i))
				break;
	size = s->paths_used - start;
	pad_paths(s);
	return size;
}

/* The same for the executable, which stands first. Many processes in a row run the same one, as workers do: it is there
 * already then. */
INLINE u32 read_exe_path(struct scratch *s, struct vfsmount *mount, struct dentry *entry, const bool loops) {
	struct known_path *known = &s->known_exe;

	if (known->entry == (u64)entry && known->mount == (u64)mount) {
		s->paths_used = known->used;
		return known->size;
	}
	known->entry = 0;
	known->size = read_path(s, mount, entry, loops);
	known->used = s->paths_used;
	known->cut = !s->walk.arrived;
	known->nameless = s->walk.nameless;
	known->mount = (u64)mount;
	known->entry = known->cut ? 0 : (u64)entry;
	return known->size;
}
