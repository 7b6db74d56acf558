package kms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keystore"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	customStoreKind = "custom-key-store" // customStoreRecord, by the id of the store
	connectIndex    = "connect"          // custom key store: those to be connected, by their id
)

// connectTimeout is how long AWS KMS tries to connect a store.
const connectTimeout = 20 * time.Minute

// customStoreRecord is a custom key store as the store keeps it.
type customStoreRecord struct {
	Name    string          `json:"name"`
	Created time.Time       `json:"created"`
	Config  keystore.Config `json:"config"`
	// Connect: the store is to be connected, also after a restart.
	Connect bool `json:"connect,omitempty"`
}

// customStore is a custom key store with the state of its connection.
type customStore struct {
	customStoreRecord
	place    store.Place
	revision uint64
	state    types.ConnectionStateType
	failure  types.ConnectionErrorCodeType // of the state FAILED
}

// links are the connections of custom key stores. A store without one is
// DISCONNECTED.
type links struct {
	// admin is held while a store is changed, so that its record and its link
	// change together.
	admin sync.Mutex

	mu    sync.Mutex // guards all and the fields of a link
	all   map[store.Place]*link
	tasks sync.WaitGroup // connects and disconnects
}

type link struct {
	state   types.ConnectionStateType
	failure types.ConnectionErrorCodeType
	conn    keystore.Connection // of a link that is CONNECTED
	cancel  context.CancelFunc  // ends the attempt to connect
}

// state is the connection state of a store.
func (l *links) state(p store.Place) (types.ConnectionStateType, types.ConnectionErrorCodeType) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.all[p]; k != nil {
		return k.state, k.failure
	}
	return types.ConnectionStateTypeDisconnected, ""
}

// connection is that of a store which is CONNECTED, nil for others.
func (l *links) connection(p store.Place) keystore.Connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.all[p]; k != nil {
		return k.conn
	}
	return nil
}

// connect begins to connect a store, after closing what it had.
func (s *Service) connect(p store.Place, cfg keystore.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	k := &link{state: types.ConnectionStateTypeConnecting, cancel: cancel}
	l := &s.links
	l.mu.Lock()
	had := l.all[p]
	l.all[p] = k
	l.mu.Unlock()
	l.tasks.Go(func() {
		defer cancel()
		had.close(s)
		conn, err := s.dial(ctx, &cfg)
		l.mu.Lock()
		if l.all[p] != k { // it was disconnected meanwhile
			l.mu.Unlock() // closing may take long
			(&link{conn: conn}).close(s)
			return
		}
		defer l.mu.Unlock()
		if err == nil {
			k.state, k.conn = types.ConnectionStateTypeConnected, conn
			return
		}
		k.state, k.failure = types.ConnectionStateTypeFailed, types.ConnectionErrorCodeTypeInternalError
		if known := new(keystore.ConnectError); errors.As(err, &known) {
			k.failure = known.Code
		}
		s.Log.Warn("custom key store not connected", "store", p.ID, "account", p.Account, "region", p.Region, "error", err,
			"next", "mend the cause, disconnect the store and connect it again")
	})
}

// dial makes a connection by the backend of the store's type; nil if that fails.
func (s *Service) dial(ctx context.Context, cfg *keystore.Config) (keystore.Connection, error) {
	b := s.KeyStores[cfg.Type()]
	if b == nil {
		return nil, fmt.Errorf("there is no backend for stores of type %s", cfg.Type())
	}
	conn, err := b.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// disconnect begins to close the connection of a store.
func (s *Service) disconnect(p store.Place) {
	l := &s.links
	l.mu.Lock()
	had := l.all[p]
	k := &link{state: types.ConnectionStateTypeDisconnecting}
	l.all[p] = k
	l.mu.Unlock()
	l.tasks.Go(func() {
		had.close(s)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.all[p] == k {
			delete(l.all, p)
		}
	})
}

// close ends what the link does. Nobody else uses it any more.
func (k *link) close(s *Service) {
	if k == nil {
		return
	}
	if k.cancel != nil {
		k.cancel()
	}
	if k.conn != nil {
		if err := k.conn.Close(); err != nil {
			s.Log.Warn("the connection of a custom key store did not close well", "error", err)
		}
	}
}

// connectStores connects the stores that were connected when the last run ended.
func (s *Service) connectStores(ctx context.Context) error {
	q := store.Query{Kind: customStoreKind, Index: connectIndex, To: store.LastIndexValue}
	return s.Store.View(ctx, func(r store.Reader) error {
		return r.Lookup(q, func(rec store.Record) error {
			c, err := s.decodeCustomStore(rec)
			if err == nil {
				s.connect(c.place, c.Config)
			}
			return err
		})
	})
}

// closeStores closes all connections, at the end.
func (s *Service) closeStores() {
	s.links.mu.Lock()
	all := s.links.all
	s.links.all = map[store.Place]*link{}
	s.links.mu.Unlock()
	for _, k := range all {
		k.close(s)
	}
	s.links.tasks.Wait()
}

func (s *Service) decodeCustomStore(rec store.Record) (*customStore, error) {
	c := &customStore{place: rec.Place, revision: rec.Revision}
	c.state, c.failure = s.links.state(c.place)
	if err := json.Unmarshal(rec.Value, &c.customStoreRecord); err != nil {
		return nil, fmt.Errorf("custom key store %s in the store: %w", rec.ID, err)
	}
	return c, nil
}

func (c *customStore) write(tx store.Tx) error {
	value, err := json.Marshal(&c.customStoreRecord)
	if err != nil {
		return err
	}
	var index []store.IndexEntry
	if c.Connect {
		index = []store.IndexEntry{{Name: connectIndex, Value: c.place.ID}}
	}
	c.revision, err = tx.Put(c.place, value, c.revision, index...)
	return err
}

func (s *Service) customStorePlace(call *api.Call, id string) store.Place {
	return store.Place{Kind: customStoreKind, Account: call.Caller.Account, Region: call.Region, ID: id}
}

// customStore finds a store of the caller's account.
func (s *Service) customStore(r store.Reader, call *api.Call, id string) (*customStore, error) {
	rec, err := r.Get(s.customStorePlace(call, id))
	if isNotFound(err) {
		return nil, awserr.New(awserr.CustomKeyStoreNotFound, "Custom key store %s is not found.", id)
	}
	if err != nil {
		return nil, err
	}
	return s.decodeCustomStore(rec)
}

// viewCustomStore is customStore outside of a transaction.
func (s *Service) viewCustomStore(ctx context.Context, call *api.Call, id string) (c *customStore, err error) {
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		c, err = s.customStore(r, call, id)
		return err
	})
	return c, err
}

// customStores are those of the caller's account and Region, by id.
func (s *Service) customStores(r store.Reader, call *api.Call) (all []*customStore, err error) {
	err = r.Scan(customStoreKind, call.Caller.Account, call.Region, "", 0, func(rec store.Record) error {
		c, err := s.decodeCustomStore(rec)
		all = append(all, c)
		return err
	})
	return all, err
}

// in refuses the operation unless the store is in one of the states.
func (c *customStore) in(call *api.Call, states ...types.ConnectionStateType) error {
	names := make([]string, len(states))
	for i, state := range states {
		if c.state == state {
			return nil
		}
		names[i] = string(state)
	}
	return awserr.New(awserr.CustomKeyStoreInvalidState, "The connection state of custom key store %s is %s. %s needs %s.",
		c.place.ID, c.state, call.Operation, strings.Join(names, " or "))
}

// checkBackend asks the backend whether it can do with the configuration, which was
// had before.
func (s *Service) checkBackend(ctx context.Context, cfg, had *keystore.Config) error {
	switch b := s.KeyStores[cfg.Type()]; {
	case b != nil:
		return b.Check(ctx, cfg, had)
	case cfg.Cluster != nil:
		return awserr.New(awserr.CloudHsmClusterNotFound, "Cluster %s is not found: this version of Kagimori has no backend for HSMs yet.", cfg.Cluster.ID)
	}
	return awserr.New(awserr.XksProxyUriUnreachable, "The external key store proxy at %s%s cannot be reached: this version of Kagimori has no backend for external key stores yet.",
		cfg.Proxy.Endpoint, cfg.Proxy.Path)
}

// checkUnique refuses what another store of the account has.
func (c *customStore) checkUnique(others []*customStore) error {
	for _, o := range others {
		if o.place == c.place {
			continue
		}
		mine, theirs := &c.Config, &o.Config
		switch {
		case o.Name == c.Name:
			return awserr.New(awserr.CustomKeyStoreNameInUse, "A custom key store with the name %s already exists.", c.Name)
		case mine.Cluster != nil && theirs.Cluster != nil && mine.Cluster.ID == theirs.Cluster.ID:
			return awserr.New(awserr.CloudHsmClusterInUse, "Cluster %s is already associated with custom key store %s.", mine.Cluster.ID, o.place.ID)
		case mine.Proxy != nil && theirs.Proxy != nil && mine.Proxy.Endpoint == theirs.Proxy.Endpoint && mine.Proxy.Path == theirs.Proxy.Path:
			return awserr.New(awserr.XksProxyUriInUse, "The external key store proxy at %s%s is already associated with custom key store %s.",
				mine.Proxy.Endpoint, mine.Proxy.Path, o.place.ID)
		}
	}
	return nil
}

// noEndpointServices refuses what is not there outside of AWS.
func noEndpointServices(connectivity types.XksProxyConnectivityType, name *string) error {
	if connectivity != types.XksProxyConnectivityTypeVpcEndpointService && aws.ToString(name) == "" {
		return nil
	}
	return awserr.New(awserr.XksProxyVpcEndpointServiceNotFound,
		"There are no VPC endpoint services here. Use PUBLIC_ENDPOINT with the address that the external key store proxy has in your network.")
}

// newConfig is what CreateCustomKeyStore was given.
func newConfig(in *sdk.CreateCustomKeyStoreInput) (cfg keystore.Config, err error) {
	if in.CustomKeyStoreType == "" {
		in.CustomKeyStoreType = types.CustomKeyStoreTypeAwsCloudhsm
	}
	external := in.CustomKeyStoreType == types.CustomKeyStoreTypeExternalKeyStore
	for _, m := range []struct {
		name               string
		given              bool
		external, optional bool
	}{
		{"CloudHsmClusterId", in.CloudHsmClusterId != nil, false, false},
		{"KeyStorePassword", in.KeyStorePassword != nil, false, false},
		{"TrustAnchorCertificate", in.TrustAnchorCertificate != nil, false, false},
		{"XksProxyAuthenticationCredential", in.XksProxyAuthenticationCredential != nil, true, false},
		{"XksProxyConnectivity", in.XksProxyConnectivity != "", true, false},
		{"XksProxyUriEndpoint", in.XksProxyUriEndpoint != nil, true, false},
		{"XksProxyUriPath", in.XksProxyUriPath != nil, true, false},
		{"XksProxyVpcEndpointServiceName", in.XksProxyVpcEndpointServiceName != nil, true, true},
		{"XksProxyVpcEndpointServiceOwner", in.XksProxyVpcEndpointServiceOwner != nil, true, true},
	} {
		switch {
		case m.given && m.external != external:
			return cfg, invalid("%s is not valid for a custom key store of type %s.", m.name, in.CustomKeyStoreType)
		case !m.given && m.external == external && !m.optional:
			return cfg, invalid("%s is required for a custom key store of type %s.", m.name, in.CustomKeyStoreType)
		}
	}
	if !external {
		cfg.Cluster = &keystore.Cluster{ID: *in.CloudHsmClusterId, TrustAnchor: *in.TrustAnchorCertificate, Password: *in.KeyStorePassword}
		return cfg, nil
	}
	c := in.XksProxyAuthenticationCredential
	cfg.Proxy = &keystore.Proxy{Endpoint: *in.XksProxyUriEndpoint, Path: *in.XksProxyUriPath, AccessKeyID: *c.AccessKeyId, SecretKey: *c.RawSecretAccessKey}
	return cfg, noEndpointServices(in.XksProxyConnectivity, in.XksProxyVpcEndpointServiceName)
}

// CreateCustomKeyStore makes a custom key store over an HSM or an external key
// manager.
func (s *Service) CreateCustomKeyStore(ctx context.Context, call *api.Call, in *sdk.CreateCustomKeyStoreInput) (*sdk.CreateCustomKeyStoreOutput, error) {
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	cfg, err := newConfig(in)
	if err != nil {
		return nil, err
	}
	if err := s.checkBackend(ctx, &cfg, nil); err != nil {
		return nil, err
	}
	var random [9]byte
	rand.Read(random[:])
	id := "cks-" + hex.EncodeToString(random[:])[:17]
	out := &sdk.CreateCustomKeyStoreOutput{CustomKeyStoreId: &id}
	s.links.admin.Lock()
	defer s.links.admin.Unlock()
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		c := &customStore{customStoreRecord: customStoreRecord{Name: *in.CustomKeyStoreName, Created: call.Time, Config: cfg}, place: s.customStorePlace(call, id)}
		all, err := s.customStores(tx, call)
		if err != nil {
			return err
		}
		if err := c.checkUnique(all); err != nil {
			return err
		}
		if len(all) >= s.Quotas.CustomKeyStores {
			return awserr.New(awserr.LimitExceeded, "The account has %d custom key stores in %s, which is the most it can have.", len(all), call.Region)
		}
		call.Trail.Response = out
		return c.write(tx)
	})
}

// ownStore asks for authorization and finds a store of the caller's account.
func (s *Service) ownStore(ctx context.Context, call *api.Call, id string) (c *customStore, err error) {
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	if c, err = s.viewCustomStore(ctx, call, id); err != nil {
		return nil, err
	}
	call.Trail.Add("customKeyStoreName", c.Name)
	if c.Config.Cluster != nil {
		call.Trail.Add("clusterId", c.Config.Cluster.ID)
	}
	return c, nil
}

// changeStore changes a custom key store, and its link after that.
func (s *Service) changeStore(ctx context.Context, call *api.Call, id string, change func(*customStore, store.Tx) error, link func(*customStore)) error {
	s.links.admin.Lock()
	defer s.links.admin.Unlock()
	var c *customStore
	err := s.Trail.Change(ctx, call, func(tx store.Tx) (err error) {
		if c, err = s.customStore(tx, call, id); err == nil {
			err = change(c, tx)
		}
		return err
	})
	if err == nil {
		link(c)
	}
	return err
}

// ConnectCustomKeyStore begins to connect a custom key store, which
// DescribeCustomKeyStores tells the end of.
func (s *Service) ConnectCustomKeyStore(ctx context.Context, call *api.Call, in *sdk.ConnectCustomKeyStoreInput) (*sdk.ConnectCustomKeyStoreOutput, error) {
	if _, err := s.ownStore(ctx, call, *in.CustomKeyStoreId); err != nil {
		return nil, err
	}
	return &sdk.ConnectCustomKeyStoreOutput{}, s.changeStore(ctx, call, *in.CustomKeyStoreId, func(c *customStore, tx store.Tx) error {
		if err := c.in(call, types.ConnectionStateTypeDisconnected, types.ConnectionStateTypeConnecting, types.ConnectionStateTypeConnected); err != nil {
			return err
		}
		c.Connect = true
		return c.write(tx)
	}, func(c *customStore) {
		if c.state == types.ConnectionStateTypeDisconnected {
			s.connect(c.place, c.Config)
		}
	})
}

// DisconnectCustomKeyStore ends the connection of a custom key store, or the attempt
// to make one. Its keys cannot be used until it is connected again.
func (s *Service) DisconnectCustomKeyStore(ctx context.Context, call *api.Call, in *sdk.DisconnectCustomKeyStoreInput) (*sdk.DisconnectCustomKeyStoreOutput, error) {
	if _, err := s.ownStore(ctx, call, *in.CustomKeyStoreId); err != nil {
		return nil, err
	}
	return &sdk.DisconnectCustomKeyStoreOutput{}, s.changeStore(ctx, call, *in.CustomKeyStoreId, func(c *customStore, tx store.Tx) error {
		if err := c.in(call, types.ConnectionStateTypeConnected, types.ConnectionStateTypeConnecting, types.ConnectionStateTypeFailed); err != nil {
			return err
		}
		c.Connect = false
		return c.write(tx)
	}, func(c *customStore) { s.disconnect(c.place) })
}

// DeleteCustomKeyStore forgets a custom key store. What holds its keys stays as it is.
func (s *Service) DeleteCustomKeyStore(ctx context.Context, call *api.Call, in *sdk.DeleteCustomKeyStoreInput) (*sdk.DeleteCustomKeyStoreOutput, error) {
	if _, err := s.ownStore(ctx, call, *in.CustomKeyStoreId); err != nil {
		return nil, err
	}
	return &sdk.DeleteCustomKeyStoreOutput{}, s.changeStore(ctx, call, *in.CustomKeyStoreId, func(c *customStore, tx store.Tx) error {
		if err := c.in(call, types.ConnectionStateTypeDisconnected); err != nil {
			return err
		}
		return tx.Delete(c.place, c.revision)
	}, func(*customStore) {})
}

// UpdateCustomKeyStore renames a custom key store, or tells how else it is reached.
func (s *Service) UpdateCustomKeyStore(ctx context.Context, call *api.Call, in *sdk.UpdateCustomKeyStoreInput) (*sdk.UpdateCustomKeyStoreOutput, error) {
	seen, err := s.ownStore(ctx, call, *in.CustomKeyStoreId)
	if err != nil {
		return nil, err
	}
	had := seen.Config
	if err := seen.update(call, in); err != nil {
		return nil, err
	}
	moved := !seen.Config.Equal(&had)
	if moved {
		if err := s.checkBackend(ctx, &seen.Config, &had); err != nil {
			return nil, err
		}
	}
	return &sdk.UpdateCustomKeyStoreOutput{}, s.changeStore(ctx, call, *in.CustomKeyStoreId, func(c *customStore, tx store.Tx) error {
		if err := c.update(call, in); err != nil {
			return err
		}
		all, err := s.customStores(tx, call)
		if err != nil {
			return err
		}
		if err := c.checkUnique(all); err != nil {
			return err
		}
		return c.write(tx)
	}, func(c *customStore) {
		if moved && c.state == types.ConnectionStateTypeConnected {
			s.connect(c.place, c.Config)
		}
	})
}

// update makes the changes that UpdateCustomKeyStore was asked for, if the type and
// the state of the store have them.
func (c *customStore) update(call *api.Call, in *sdk.UpdateCustomKeyStoreInput) error {
	hsm := in.CloudHsmClusterId != nil || in.KeyStorePassword != nil
	place := in.XksProxyUriEndpoint != nil || in.XksProxyConnectivity != "" || in.XksProxyVpcEndpointServiceName != nil || in.XksProxyVpcEndpointServiceOwner != nil
	proxy := place || in.XksProxyUriPath != nil || in.XksProxyAuthenticationCredential != nil
	switch {
	case !hsm && !proxy && in.NewCustomKeyStoreName == nil:
		return invalid("Specify at least one property to update.")
	case hsm && c.Config.Cluster == nil:
		return invalid("CloudHsmClusterId and KeyStorePassword are not valid for a custom key store of type %s.", c.Config.Type())
	case proxy && c.Config.Proxy == nil:
		return invalid("The XksProxy properties are not valid for a custom key store of type %s.", c.Config.Type())
	}
	states := []types.ConnectionStateType{types.ConnectionStateTypeDisconnected}
	if !hsm && !place {
		states = append(states, types.ConnectionStateTypeConnected)
	}
	if err := c.in(call, states...); err != nil {
		return err
	}
	if err := noEndpointServices(in.XksProxyConnectivity, in.XksProxyVpcEndpointServiceName); err != nil {
		return err
	}
	set := func(at *string, to *string) {
		if to != nil {
			*at = *to
		}
	}
	set(&c.Name, in.NewCustomKeyStoreName)
	if c.Config.Cluster != nil {
		cluster := *c.Config.Cluster
		set(&cluster.ID, in.CloudHsmClusterId)
		set(&cluster.Password, in.KeyStorePassword)
		c.Config.Cluster = &cluster
		return nil
	}
	p := *c.Config.Proxy
	set(&p.Endpoint, in.XksProxyUriEndpoint)
	set(&p.Path, in.XksProxyUriPath)
	if a := in.XksProxyAuthenticationCredential; a != nil {
		p.AccessKeyID, p.SecretKey = *a.AccessKeyId, *a.RawSecretAccessKey
	}
	c.Config.Proxy = &p
	return nil
}

// DescribeCustomKeyStores lists the custom key stores of the account, by id, or one
// of them.
func (s *Service) DescribeCustomKeyStores(ctx context.Context, call *api.Call, in *sdk.DescribeCustomKeyStoresInput) (*sdk.DescribeCustomKeyStoresOutput, error) {
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	if in.CustomKeyStoreId != nil && in.CustomKeyStoreName != nil {
		return nil, invalid("CustomKeyStoreId and CustomKeyStoreName cannot be used together.")
	}
	pg, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	var all []*customStore
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		all, err = s.customStores(r, call)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &sdk.DescribeCustomKeyStoresOutput{CustomKeyStores: []types.CustomKeyStoresListEntry{}}
	id, name := aws.ToString(in.CustomKeyStoreId), aws.ToString(in.CustomKeyStoreName)
	for _, c := range all {
		if c.place.ID <= pg.after || id != "" && c.place.ID != id || name != "" && c.Name != name {
			continue
		}
		if pg.full(len(out.CustomKeyStores)) {
			break
		}
		out.CustomKeyStores = append(out.CustomKeyStores, c.entry())
		pg.last = c.place.ID
	}
	if len(out.CustomKeyStores) == 0 && id+name != "" {
		return nil, awserr.New(awserr.CustomKeyStoreNotFound, "Custom key store %s is not found.", id+name)
	}
	out.NextMarker, out.Truncated = pg.next()
	return out, nil
}

// entry is the store as the API tells of it, without its secrets.
func (c *customStore) entry() types.CustomKeyStoresListEntry {
	e := types.CustomKeyStoresListEntry{
		CustomKeyStoreId: &c.place.ID, CustomKeyStoreName: &c.Name, CustomKeyStoreType: c.Config.Type(), CreationDate: &c.Created,
		ConnectionState: c.state, ConnectionErrorCode: c.failure,
	}
	if h := c.Config.Cluster; h != nil {
		e.CloudHsmClusterId, e.TrustAnchorCertificate = &h.ID, &h.TrustAnchor
	}
	if p := c.Config.Proxy; p != nil {
		e.XksProxyConfiguration = &types.XksProxyConfigurationType{Connectivity: types.XksProxyConnectivityTypePublicEndpoint,
			AccessKeyId: &p.AccessKeyID, UriEndpoint: &p.Endpoint, UriPath: &p.Path}
	}
	return e
}

// checkStoreOf refuses a new key in a custom key store that cannot have it.
func (s *Service) checkStoreOf(ctx context.Context, call *api.Call, in *sdk.CreateKeyInput) error {
	kinds := map[types.OriginType]types.CustomKeyStoreType{
		types.OriginTypeAwsCloudhsm: types.CustomKeyStoreTypeAwsCloudhsm, types.OriginTypeExternalKeyStore: types.CustomKeyStoreTypeExternalKeyStore,
	}
	kind, custom := kinds[in.Origin]
	switch {
	case !custom && in.CustomKeyStoreId != nil:
		return invalid("CustomKeyStoreId is only valid with Origin AWS_CLOUDHSM or EXTERNAL_KEY_STORE.")
	case custom && in.CustomKeyStoreId == nil:
		return invalid("Origin %s requires a CustomKeyStoreId.", in.Origin)
	case (in.XksKeyId != nil) != (in.Origin == types.OriginTypeExternalKeyStore):
		return invalid("XksKeyId is required with Origin EXTERNAL_KEY_STORE and only valid with it.")
	case !custom:
		return nil
	case in.KeySpec != types.KeySpecSymmetricDefault || aws.ToBool(in.MultiRegion):
		return awserr.New(awserr.UnsupportedOperation, "A custom key store has single-Region symmetric encryption keys only.")
	}
	c, err := s.viewCustomStore(ctx, call, *in.CustomKeyStoreId)
	if err != nil {
		return err
	}
	if c.Config.Type() != kind {
		return invalid("Custom key store %s has keys of another Origin than %s.", c.place.ID, in.Origin)
	}
	if err := c.in(call, types.ConnectionStateTypeConnected); err != nil {
		return err
	}
	return awserr.New(awserr.UnsupportedOperation, "Keys in custom key stores are not supported by this version of Kagimori.")
}

// random gives n random bytes of a custom key store, or without one of this machine.
func (s *Service) random(ctx context.Context, call *api.Call, id *string, n int) ([]byte, error) {
	if id == nil {
		return randomBytes(n), nil
	}
	c, err := s.viewCustomStore(ctx, call, *id)
	if err != nil {
		return nil, err
	}
	if c.Config.Cluster == nil {
		return nil, awserr.New(awserr.UnsupportedOperation, "GenerateRandom is not supported by custom key stores of type %s.", c.Config.Type())
	}
	conn := s.links.connection(c.place)
	if conn == nil {
		return nil, c.in(call, types.ConnectionStateTypeConnected)
	}
	random, err := conn.Random(ctx, n)
	if err == nil && len(random) != n {
		err = fmt.Errorf("it gave %d random bytes instead of %d", len(random), n)
	}
	if err != nil {
		s.Log.Error("custom key store", "store", c.place.ID, "error", err)
		return nil, awserr.New(awserr.DependencyTimeout, "")
	}
	return random, nil
}
