package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

func newBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Save the durable state of all capsules",
		Long: `Save the durable state of all capsules as of one moment in FILE, which replaces a file
of that name once it is complete. Capsules run on meanwhile. Without a daemon, the
state below the home is saved.` +
			exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := renameio.NewPendingFile(args[0], renameio.WithStaticPermissions(0o600))
			if err != nil {
				return fmt.Errorf("write the backup: %w", err)
			}
			defer func() { _ = file.Cleanup() }() // if it is not complete
			if err := a.backup(cmd.Context(), file); err != nil {
				return err
			}
			if err := file.CloseAtomicallyReplace(); err != nil {
				return fmt.Errorf("write the backup: %w", err)
			}
			return nil
		},
	}
}

func (a *app) backup(ctx context.Context, w io.Writer) error {
	err := a.ask(func(c *control.Client) error { return c.Backup(ctx, w) })
	if !errors.Is(err, control.ErrNoDaemon) {
		return err
	}
	h, err := a.home()
	if err != nil {
		return err
	}
	return store.BackupFile(h.StatePath(), w)
}

func newRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the durable state of all capsules by a saved one",
		Long: `Replace the durable state of all capsules by the one that backup has saved in FILE,
at one moment. A file that is damaged changes nothing. The capsules that have used
their state are restarted. Without a daemon, the state below the home is replaced; if
that is damaged, it is kept beside the new one.` +
			exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return usage("read the backup: %w", err)
			}
			defer file.Close()
			return a.restore(cmd.Context(), file)
		},
	}
}

func (a *app) restore(ctx context.Context, file io.ReadSeeker) error {
	var restarted []string
	err := a.ask(func(c *control.Client) (err error) {
		restarted, err = c.Restore(ctx, file)
		return err
	})
	if err == nil && len(restarted) > 0 {
		return a.print(fmt.Sprintf("restarted: %q\n", restarted))
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return err
	}
	h, err := a.home()
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil { // some of it may have been read for the daemon
		return fmt.Errorf("read the backup: %w", err)
	}
	kept, err := store.RestoreFile(h.StatePath(), file)
	if err == nil && kept != "" {
		err = a.print("the damaged state is now " + kept + "\n")
	}
	return err
}
