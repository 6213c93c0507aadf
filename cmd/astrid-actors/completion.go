package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Long: `Print a script that teaches a shell to complete the commands, their flags, and
the ids of the running capsules. To load it into the present shell:

  bash        source <(astrid-actors completion bash)
  zsh         source <(astrid-actors completion zsh)
  fish        astrid-actors completion fish | source
  powershell  astrid-actors completion powershell | Out-String | Invoke-Expression` +
			exitStatus(exitDone, exitFailed, exitUsage),
		Args:      arguments(1, 1),
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			switch root := cmd.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				err = root.GenZshCompletion(a.stdout)
			case "fish":
				err = root.GenFishCompletion(a.stdout, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(a.stdout)
			default:
				return usage("no completion for the shell %q: it must be bash, zsh, fish or powershell", args[0])
			}
			if err != nil {
				return fmt.Errorf("write the script: %w", err)
			}
			return nil
		},
	}
}
