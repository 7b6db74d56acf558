// Package sts makes temporary credentials and answers the AWS STS API.
//
// A session token is sealed and carries the whole session, so that a call needs
// no database read to know its caller, and a token ends when it says so.
package sts
