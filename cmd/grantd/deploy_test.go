package main_test

import (
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const deployFolder = "../../deploy/"

// manifest is what the tests look at of any Kubernetes object.
type manifest struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Replicas int `yaml:"replicas"`
		Selector any `yaml:"selector"`
		Template struct {
			Metadata struct {
				Labels map[string]string `yaml:"labels"`
			} `yaml:"metadata"`
			Spec podSpec `yaml:"spec"`
		} `yaml:"template"`
		Ports []struct {
			TargetPort string `yaml:"targetPort"`
		} `yaml:"ports"`
		Ingress []struct {
			Ports []struct {
				Port int `yaml:"port"`
			} `yaml:"ports"`
		} `yaml:"ingress"`
	} `yaml:"spec"`
}

type podSpec struct {
	AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
	SecurityContext              struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	Containers []struct {
		Args []string `yaml:"args"`
		Env  []struct {
			Name  string `yaml:"name"`
			Value string `yaml:"value"`
		} `yaml:"env"`
		Ports []struct {
			Name          string `yaml:"name"`
			ContainerPort int    `yaml:"containerPort"`
		} `yaml:"ports"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	} `yaml:"containers"`
	Volumes []struct {
		Secret struct {
			Items []struct{ Key, Path string } `yaml:"items"`
		} `yaml:"secret"`
	} `yaml:"volumes"`
}

type probe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	files, err := filepath.Glob(deployFolder + "kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]manifest{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var m manifest
		if err := yaml.Unmarshal(text, &m); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[m.Kind] = m
	}
	return all
}

// deployedSecrets are what the files of a deployment hold.
var deployedSecrets = map[string]string{"root-key": goodKey, "admin-key": otherKey, "database-url": "postgres://grantd@postgres/grantd"}

// wantDeployable fails the test unless grantd, run with these arguments, takes the
// variables as they are, with secret files of its own.
func wantDeployable(t *testing.T, args, environ []string) {
	t.Helper()
	if r := run(t, nil, append(slices.Clone(args), "--help")...); r.code != 0 {
		t.Errorf("grantd %q: %s", args, r.stderr)
	}
	folder := t.TempDir()
	for i, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasSuffix(name, "_FILE") {
			continue
		}
		secret, ok := deployedSecrets[path.Base(value)]
		if !ok {
			t.Fatalf("%s: no secret of that name is made", entry)
		}
		file := filepath.Join(folder, path.Base(value))
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		environ[i] = name + "=" + file
	}
	shown, r := config(t, environ)
	for _, fault := range shown.Faults {
		// A migration has none of the server's secrets.
		if args[0] != "migrate" || fault.Where != "--root-key" {
			t.Errorf("%+v", fault)
		}
	}
	if r.code != 0 && args[0] == "serve" {
		t.Errorf("grantd config: %d %s", r.code, r.stderr)
	}
}

func TestKubernetesManifests(t *testing.T) {
	all := manifests(t)
	for _, kind := range []string{"Deployment", "Job"} {
		pod := all[kind].Spec.Template.Spec
		if len(pod.Containers) != 1 || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || !pod.SecurityContext.RunAsNonRoot {
			t.Fatalf("%s: %+v", kind, pod)
		}
		c := pod.Containers[0]
		if c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation || !c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s: %+v", kind, c.SecurityContext)
		}
		var environ []string
		for _, e := range c.Env {
			environ = append(environ, e.Name+"="+e.Value)
			if !strings.HasSuffix(e.Name, "_FILE") {
				continue
			}
			mounted := slices.ContainsFunc(pod.Volumes[0].Secret.Items, func(item struct{ Key, Path string }) bool {
				return path.Join(c.VolumeMounts[0].MountPath, item.Path) == e.Value
			})
			if !mounted {
				t.Errorf("%s: no secret is mounted at %s", kind, e.Value)
			}
		}
		wantDeployable(t, c.Args, environ)
	}

	deployment := all["Deployment"]
	server := deployment.Spec.Template.Spec.Containers[0]
	listen := server.Env[slices.IndexFunc(server.Env, func(e struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	},
	) bool {
		return e.Name == "GRANTD_LISTEN"
	})].Value
	if _, port, _ := net.SplitHostPort(listen); deployment.Spec.Replicas < 2 || port != "8080" || server.Ports[0].ContainerPort != 8080 || all["NetworkPolicy"].Spec.Ingress[0].Ports[0].Port != 8080 {
		t.Errorf("%d replicas at %s, with the port %v", deployment.Spec.Replicas, listen, server.Ports)
	}
	if target := all["Service"].Spec.Ports[0].TargetPort; target != server.Ports[0].Name {
		t.Errorf("the service leads to %q", target)
	}
	if ready, live := server.ReadinessProbe.HTTPGet, server.LivenessProbe.HTTPGet; ready.Path != "/readyz" || live.Path != "/healthz" || ready.Port != server.Ports[0].Name || live.Port != ready.Port {
		t.Errorf("the probes are %+v and %+v", ready, live)
	}
	const label, name = "app.kubernetes.io/name", "grantd"
	if deployment.Spec.Template.Metadata.Labels[label] != name {
		t.Errorf("labels %v", deployment.Spec.Template.Metadata.Labels)
	}
	for kind, labels := range map[string]any{
		"Service":             all["Service"].Spec.Selector,
		"Deployment":          matchLabels(deployment.Spec.Selector),
		"PodDisruptionBudget": matchLabels(all["PodDisruptionBudget"].Spec.Selector),
	} {
		if selected, _ := labels.(map[string]any); selected[label] != name || len(selected) != 1 {
			t.Errorf("%s selects %v", kind, labels)
		}
	}
}

func matchLabels(selector any) any {
	selected, _ := selector.(map[string]any)
	return selected["matchLabels"]
}

func TestSystemdUnit(t *testing.T) {
	const unit = deployFolder + "systemd/grantd.service"
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	var args, environ, credentials []string
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "ExecStart":
			args = strings.Fields(value)[1:]
		case "Environment":
			environ = append(environ, value)
		case "LoadCredential":
			id, _, _ := strings.Cut(value, ":")
			credentials = append(credentials, "%d/"+id)
		}
	}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasSuffix(name, "_FILE") && !slices.Contains(credentials, value) {
			t.Errorf("%s is not among the credentials %q", entry, credentials)
		}
	}
	wantDeployable(t, args, environ)

	analyze, err := exec.LookPath("systemd-analyze")
	switch {
	case err != nil && os.Getenv("GRANTD_TEST_REQUIRE_SYSTEMD") == "1":
		t.Fatal(err)
	case err != nil:
		t.Skip("systemd-analyze is not here, as on machines without systemd")
	}
	// It wants the program to be there.
	copied := filepath.Join(t.TempDir(), "grantd.service")
	if err := os.WriteFile(copied, []byte(strings.Replace(string(text), "/usr/local/bin/grantd", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", copied).CombinedOutput(); err != nil || strings.Contains(string(said), "grantd.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, said)
	}
}
