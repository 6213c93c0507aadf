package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// outsideOptions are the flags of run about what capsules may reach outside of
// themselves: the operator's part, besides what their manifests grant.
type outsideOptions struct {
	workspace      string
	workspaceQuota supervisor.FileQuota
	homeQuota      supervisor.FileQuota
	networks       []string
	hostProcess    bool
}

func (o *outsideOptions) flags(flags *pflag.FlagSet) {
	flags.StringVar(&o.workspace, "workspace", "", "the `directory` that capsules see as cwd://; what they write waits for the command workspace")
	flags.Int64Var(&o.workspaceQuota.Bytes, "workspace-bytes", 1<<30, "the `bytes` that one capsule may write below cwd://")
	flags.Int64Var(&o.workspaceQuota.Files, "workspace-files", 100_000, "the `number` of files that one capsule may write below cwd://")
	flags.Int64Var(&o.homeQuota.Bytes, "home-bytes", 1<<30, "the `bytes` that all capsules may keep below home://, and below /tmp")
	flags.Int64Var(&o.homeQuota.Files, "home-files", 100_000, "the `number` of files that all capsules may keep below home://, and below /tmp")
	flags.StringArrayVar(&o.networks, "allow-network", nil, "a `network` such as 10.0.0.0/8, or an address, that capsules may reach by HTTP although it is not public; may be repeated")
	flags.BoolVar(&o.hostProcess, "allow-host-process", false, "let capsules run the programs of this machine that their manifests name in host_process")
}

// problems returns the flags whose values can't be accepted.
func (o *outsideOptions) problems() []flagProblem {
	var found []flagProblem
	for _, q := range []struct {
		flag  string
		value int64
	}{
		{"workspace-bytes", o.workspaceQuota.Bytes},
		{"workspace-files", o.workspaceQuota.Files},
		{"home-bytes", o.homeQuota.Bytes},
		{"home-files", o.homeQuota.Files},
	} {
		if q.value <= 0 {
			found = append(found, flagProblem{q.flag, usage("--%s is %d: it must be positive", q.flag, q.value)})
		}
	}
	if _, err := o.prefixes(); err != nil {
		found = append(found, flagProblem{"allow-network", usage("--allow-network %w", err)})
	}
	return found
}

// prefixes returns the networks.
func (o *outsideOptions) prefixes() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range o.networks {
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
			all = append(all, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("is %q: it must be a network such as 10.0.0.0/8, or an address", text)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

// apply writes the flags into the supervisor's configuration.
func (o *outsideOptions) apply(cfg *supervisor.Config) {
	cfg.AllowHostProcess = o.hostProcess
	cfg.Workspace, cfg.WorkspaceQuota, cfg.HomeQuota = o.workspace, o.workspaceQuota, o.homeQuota
	cfg.HTTPNetworks, _ = o.prefixes() // problems has reported an error
}
